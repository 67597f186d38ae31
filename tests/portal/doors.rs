//! Whom the portal lets in, and whom it lets change something.

use std::time::{Duration, Instant};

use super::stand::{FORM, Stand};

#[test]
fn nobody_comes_in_without_the_token() {
    let stand = Stand::new(&[]);
    for page in ["/", "/servers/shop", "/servers/shop/plan?to=latest", "/servers/shop/changes"] {
        let answer = stand.ask(&format!("GET {page}"), &[], "");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/login")), "{page}");
    }
    assert_eq!(stand.ask("POST /servers/shop/restore", &[FORM], "to=latest&name=a&request=b").status, 401);
    assert_eq!(stand.ask("GET /", &[("Cookie", "pitr_session=0123")], "").status, 303);
    // Guesses come one after the other, a second each.
    let begun = Instant::now();
    let guessed: Vec<_> = std::thread::scope(|scope| {
        let guesses = (0..3).map(|n| {
            scope.spawn({
                let stand = &stand;
                move || stand.ask("POST /login", &[FORM], &format!("token={n}")).status
            })
        });
        let guesses: Vec<_> = guesses.collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert_eq!(guessed, [403; 3]);
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let almost = &stand.token[..stand.token.len() - 1];
    assert_eq!(stand.ask("POST /login", &[FORM], &format!("token={almost}")).status, 403);

    let answer = stand.ask("POST /login", &[FORM], &format!("token={}", stand.token));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(["HttpOnly", "SameSite=Strict"].iter().all(|flag| cookie.contains(flag)), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let fleet = stand.ask("GET /", &[("Cookie", cookie)], "");
    assert!(fleet.status == 200 && fleet.body.contains("pitrctl protect"), "{fleet:?}");
    assert!(!fleet.body.contains(&stand.token));
}

#[test]
fn only_forms_of_the_session_change_something() {
    let stand = Stand::new(&[]);
    let (mine, other) = (stand.come_in(), stand.come_in());
    let form = |cookie: &str| stand.ask("GET /", &[("Cookie", cookie)], "").form().to_owned();
    let order = |cookie: &str, form: &str| {
        let body = format!("form={form}&to=latest&value=&name=a&request=b");
        stand.ask("POST /servers/shop/restore", &[FORM, ("Cookie", cookie)], &body).status
    };
    for forged in ["", "0123", &form(&other)] {
        assert_eq!(order(&mine, forged), 403, "{forged}");
    }
    assert_eq!(order(&mine, &form(&mine)), 404, "there is no such server, which is asked for only now");
    let long = format!("form={}&name={}", form(&mine), "a".repeat(100_000));
    assert_eq!(stand.ask("POST /servers/shop/restore", &[FORM, ("Cookie", &mine)], &long).status, 413);
    let leave = format!("form={}", form(&mine));
    assert_eq!(stand.ask("POST /logout", &[FORM, ("Cookie", &mine)], &leave).status, 303);
    assert_eq!(stand.ask("GET /", &[("Cookie", &mine)], "").header("location"), Some("/login"));
    assert_eq!(stand.ask("GET /", &[("Cookie", &other)], "").status, 200);
}

/// A page elsewhere whose name was made to mean this machine, is not answered.
#[test]
fn it_answers_to_its_own_name_only_and_bounds_its_pages() {
    let stand = Stand::new(&[]);
    assert_eq!(stand.ask("GET /login", &[("Host", "evil.example")], "").status, 421);
    assert_eq!(stand.ask("GET /login", &[("Host", "127.0.0.1:1")], "").status, 421);
    assert!(stand.host.starts_with("127.0.0.1:"));
    let cookie = stand.come_in();
    for page in ["/login", "/style.css", "/portal.js", "/", "/servers/none", "/elsewhere"] {
        let answer = stand.ask(&format!("GET {page}"), &[("Cookie", &cookie)], "");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{page}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{page}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{page}");
    }
    let missing = stand.ask("GET /servers/none", &[("Cookie", &cookie)], "");
    assert!(missing.status == 404 && missing.body.contains("no server none"), "{missing:?}");
    assert_eq!(stand.ask("GET /servers/%3Cb%3E", &[("Cookie", &cookie)], "").status, 400);
}
