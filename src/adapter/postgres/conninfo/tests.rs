//! Connection strings against what libpq makes of them.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> ConnInfo {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn settings(text: &str) -> Vec<(&'static str, String)> {
    parsed(text).values.into_iter().collect()
}

fn expected(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

#[test]
fn pairs_are_read_as_by_libpq() {
    for (text, pairs) in [
        ("", &[][..]),
        ("host=localhost port = 5432", &[("host", "localhost"), ("port", "5432")]),
        (r"user='it\'s' dbname=a\ b", &[("dbname", "a b"), ("user", "it's")]),
        (r"dbname='C:\\x' user=''", &[("dbname", r"C:\x")]),
        ("host=a host=b", &[("host", "b")]),
        ("host=\tx\n user=y", &[("host", "x"), ("user", "y")]),
    ] {
        assert_eq!(settings(text), expected(pairs), "{text}");
    }
}

/// The examples of the manual's section 34.1.1.2, and of libpq's own test `src/interfaces/libpq/t/001_uri.pl`.
#[test]
fn uris_are_read_as_by_libpq() {
    for (text, pairs) in [
        ("postgresql://", &[][..]),
        ("postgresql://localhost", &[("host", "localhost")]),
        ("postgresql://localhost:5433", &[("host", "localhost"), ("port", "5433")]),
        ("postgresql://localhost/mydb", &[("dbname", "mydb"), ("host", "localhost")]),
        ("postgresql://user:secret@localhost", &[("host", "localhost"), ("user", "user")]),
        (
            "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
            &[
                ("application_name", "myapp"),
                ("connect_timeout", "10"),
                ("dbname", "otherdb"),
                ("host", "localhost"),
                ("user", "other"),
            ],
        ),
        (
            "postgresql://host1:123,host2:456/somedb?target_session_attrs=any",
            &[("dbname", "somedb"), ("host", "host1,host2"), ("port", "123,456"), ("target_session_attrs", "any")],
        ),
        ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", &[("dbname", "dbname"), ("host", "/var/lib/postgresql")]),
        (
            "postgresql://[2001:db8::1234]:5433/database",
            &[("dbname", "database"), ("host", "2001:db8::1234"), ("port", "5433")],
        ),
        ("postgres://[::1]", &[("host", "::1")]),
        (
            "postgresql://uri-user@host/?sslmode=require",
            &[("host", "host"), ("sslmode", "require"), ("user", "uri-user")],
        ),
        ("postgresql:///mydb?host=localhost&port=5433", &[("dbname", "mydb"), ("host", "localhost"), ("port", "5433")]),
        ("postgresql://host?ssl=true", &[("host", "host"), ("sslmode", "require")]),
    ] {
        assert_eq!(settings(text), expected(pairs), "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_repeat_no_value() {
    use ConnInfoError::{Ipv6Brackets, MissingEquals, PercentEncoding, UnknownKey, UnterminatedQuote, UriParameter};
    let unknown = |key: &str| UnknownKey { key: key.to_owned() };
    for (text, error) in [
        ("hunter2", MissingEquals { at: 0 }),
        ("user=x hunter2", MissingEquals { at: 7 }),
        ("password='hunter2", UnterminatedQuote { at: 9 }),
        ("service=x", unknown("service")),
        ("postgresql://a:hunter2%zz@h", PercentEncoding),
        ("postgresql://a%00", PercentEncoding),
        ("postgresql://a%", PercentEncoding),
        ("postgresql://a%ff", PercentEncoding),
        ("postgresql://[::1", Ipv6Brackets),
        ("postgresql://[::1]x", Ipv6Brackets),
        ("postgresql://h?zzz=1", unknown("zzz")),
        ("postgresql://h?sslmode", UriParameter),
    ] {
        let found = text.parse::<ConnInfo>().unwrap_err();
        assert!(!found.to_string().contains("hunter2"), "{found}");
        assert_eq!(found, error, "{text}");
    }
}

#[test]
fn the_password_is_kept_and_never_shown() {
    for text in ["user=u password='hun ter2'", "postgresql://u:hun%20ter2@", "postgres:///?user=u&password=hun%20ter2"]
    {
        let conninfo = parsed(text);
        assert_eq!(conninfo.password().unwrap().reveal(), b"hun ter2");
        let shown = format!("{conninfo} {conninfo:?}");
        assert!(!shown.contains("hun"), "{shown}");
    }
}

#[test]
fn the_environment_fills_what_is_not_set() {
    let variables = [("PGHOST", "env"), ("PGUSER", "env"), ("PGPASSWORD", "env"), ("PGPORT", ""), ("PATH", "/bin")];
    let variables = || variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let conninfo = parsed("user=own password=own").with_environment(variables());
    assert_eq!(conninfo.to_string(), "host=env user=own");
    assert_eq!(conninfo.password().unwrap().reveal(), b"own");
    assert_eq!(ConnInfo::new().with_environment(variables()).password().unwrap().reveal(), b"env");
}

proptest! {
    #[test]
    fn settings_print_and_parse(host in ".*", user in ".*", options in ".*") {
        let conninfo = ConnInfo::new().with("host", &host).unwrap().with("user", &user).unwrap();
        let conninfo = conninfo.with("options", &options).unwrap();
        prop_assert_eq!(conninfo.to_string().parse(), Ok(conninfo));
    }

    #[test]
    fn whatever_parses_prints_and_parses_to_the_same(text in "(postgres://)?[a-z=' \\\\%0-9@:/?&\\[\\],]*") {
        if let Ok(mut conninfo) = text.parse::<ConnInfo>() {
            conninfo.password = None;
            prop_assert_eq!(conninfo.to_string().parse(), Ok(conninfo));
        }
    }
}
