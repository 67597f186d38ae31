//! Credentials for S3 as Amazon's own tools keep them: in files, by profiles.
//!
//! See <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>. What a profile says of other ways to a credential (a process, single sign-on, a role) is
//! refused, not passed over.

use std::io;
use std::path::{Path, PathBuf};

use crate::port::{PortError, PortErrorKind};

/// What is taken of a profile. Names are those of the settings.
const TAKEN: [(&str, &str); 4] = [
    ("aws_access_key_id", "aws_access_key_id"),
    ("aws_secret_access_key", "aws_secret_access_key"),
    ("aws_session_token", "aws_session_token"),
    ("region", "aws_region"),
];

/// Other ways to a credential.
const OTHER_WAYS: [&str; 5] =
    ["credential_process", "sso_session", "sso_start_url", "role_arn", "web_identity_token_file"];

/// The settings of the profile that the environment names, or of the default one; none if there is no such file.
///
/// # Errors
/// If a file cannot be read, or the profile that the environment names has no credential that can be used.
pub(super) fn settings(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, PortError> {
    let home = variable("HOME").map(PathBuf::from);
    let path = |name: &str, file: &str| {
        variable(name).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".aws").join(file)))
    };
    let named = variable("AWS_PROFILE");
    let name = named.as_deref().unwrap_or("default");
    let mut found = Vec::new();
    for (file, section) in [
        (path("AWS_CONFIG_FILE", "config"), config_section(name)),
        (path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name.to_owned()),
    ] {
        let text = file.map_or(Ok(None), |file| read(&file))?;
        found.extend(text.iter().flat_map(|text| entries(text, &section)));
    }
    check(named.as_deref(), &found)?;
    let taken = |(name, value): (String, String)| {
        let (_, setting) = TAKEN.iter().find(|(taken, _)| *taken == name)?;
        Some(((*setting).to_owned(), value))
    };
    Ok(found.into_iter().filter_map(taken).collect())
}

fn config_section(name: &str) -> String {
    if name == "default" { name.to_owned() } else { format!("profile {name}") }
}

fn read(path: &Path) -> Result<Option<String>, PortError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PortError::io(format!("cannot read {}", path.display()), error)),
    }
}

/// The names and values in a section. Those that are set in deeper, below a name without a value, are of no use here.
fn entries(text: &str, section: &str) -> Vec<(String, String)> {
    let mut is_inside = false;
    let mut entries = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if let Some(header) = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = header.split_whitespace().eq(section.split_whitespace());
        } else if is_inside
            && !line.starts_with([' ', '\t'])
            && let Some((name, value)) = line.split_once('=')
        {
            entries.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    entries
}

fn check(named: Option<&str>, found: &[(String, String)]) -> Result<(), PortError> {
    let has = |name: &str| found.iter().any(|(found, value)| found == name && !value.is_empty());
    if has("aws_access_key_id") && has("aws_secret_access_key") {
        return Ok(());
    }
    let other = OTHER_WAYS.iter().find(|name| has(name));
    let why = match (other, named) {
        (Some(other), _) => {
            format!("goes by {other}, which pitr does not know: give it a key, or the credential itself")
        }
        (None, Some(_)) => "has no aws_access_key_id and aws_secret_access_key, or is not there".to_owned(),
        (None, None) => return Ok(()),
    };
    let context = format!("the profile {:?} of AWS {why}", named.unwrap_or("default"));
    Err(PortError::new(PortErrorKind::Invalid, context))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = AKDEFAULT\naws_secret_access_key=secret=with=signs\n\n\
        [backups]\naws_access_key_id=AKBACKUPS\naws_secret_access_key=other\naws_session_token = token\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\ns3 =\n  addressing_style = path\n[profile backups]\nregion=eu-west-1\n\
        [profile sso]\nsso_session = us\n[profile empty]\noutput = json\n";

    fn of_profile(profile: Option<&str>, files: &[(&str, &str)]) -> Result<Vec<(String, String)>, PortError> {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        for (name, text) in files {
            std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        }
        settings(|name| match name {
            "HOME" => home.path().to_str().map(str::to_owned),
            "AWS_PROFILE" => profile.map(str::to_owned),
            _ => None,
        })
    }

    fn both(profile: Option<&str>) -> Result<Vec<(String, String)>, PortError> {
        of_profile(profile, &[("credentials", CREDENTIALS), ("config", CONFIG)])
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn a_profile_is_found_in_both_files() {
        let default = [
            ("aws_region", "eu-central-1"),
            ("aws_access_key_id", "AKDEFAULT"),
            ("aws_secret_access_key", "secret=with=signs"),
        ];
        assert_eq!(both(None).unwrap(), pairs(default));
        assert_eq!(both(Some("default")).unwrap(), pairs(default));
        let backups = [
            ("aws_region", "eu-west-1"),
            ("aws_access_key_id", "AKBACKUPS"),
            ("aws_secret_access_key", "other"),
            ("aws_session_token", "token"),
        ];
        assert_eq!(both(Some("backups")).unwrap(), pairs(backups));
    }

    #[test]
    fn files_need_not_be_there() {
        assert_eq!(of_profile(None, &[]).unwrap(), []);
        assert_eq!(of_profile(None, &[("config", CONFIG)]).unwrap(), pairs([("aws_region", "eu-central-1")]));
        assert_eq!(settings(|_| None).unwrap(), []);
    }

    #[test]
    fn a_profile_that_cannot_be_used_is_refused() {
        for (profile, why) in [("sso", "sso_session"), ("empty", "aws_access_key_id"), ("nobody", "is not there")] {
            let error = both(Some(profile)).unwrap_err();
            assert_eq!(error.kind(), PortErrorKind::Invalid);
            assert!(error.to_string().contains(why) && error.to_string().contains(profile), "{error}");
        }
        let process = "[default]\ncredential_process = /bin/true\n";
        assert!(of_profile(None, &[("config", process)]).unwrap_err().to_string().contains("credential_process"));
        let unreadable = settings(|name| (name == "AWS_CONFIG_FILE").then(|| "/".to_owned()));
        assert!(unreadable.unwrap_err().to_string().contains("cannot read /"));
    }
}
