//! Tests of the configuration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;

use super::files::FILE_BYTES_MAX;
use super::*;

fn address_error(server: &str) -> String {
    match Config::new(server).address() {
        Ok(address) => panic!("{server} was taken for {}:{}", address.host, address.port),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_address_is_a_host_and_a_port_over_https() {
    for (server, host, port) in [
        ("https://bulla.example:7443", "bulla.example", 7443),
        ("https://10.0.0.1:1/", "10.0.0.1", 1),
        ("https://[::1]:65535", "::1", 65535),
    ] {
        let address = Config::new(server).address().unwrap();
        assert_eq!((address.host.as_str(), address.port), (host, port));
    }
    assert!(address_error("http://bulla.example:7443").contains("https://"));
    assert!(address_error("bulla.example:7443").contains("write it as https://host:port"));
    assert!(address_error("https://bulla.example").contains("it has no port"));
    assert!(address_error("https://bulla.example:7443/v1").contains("it has a path"));
    assert!(address_error("https://u:p@bulla.example:7443").contains("no plain host"));
    assert!(address_error("https://:7443").contains("https://host:port"));
    assert!(address_error("").contains("BULLA_SERVER"));
    let named = Config::new("https://10.0.0.1:1").server_name("not a name");
    assert!(named.address().err().unwrap().to_string().contains("\"not a name\""));
}

#[test]
fn the_environment_names_the_server_and_three_paths() {
    let all = ["BULLA_SERVER", "BULLA_CA", "BULLA_CERTIFICATE", "BULLA_KEY"];
    assert!(Config::from_variables(|_| Some("https://a:1".to_owned())).is_ok());
    for missing in all {
        for value in [None, Some(String::new())] {
            let read = |name: &str| {
                if name == missing { value.clone() } else { Some("x".to_owned()) }
            };
            let error = Config::from_variables(read).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_way_out() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.key");
    fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    for (mode, open) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = read(Some(&Pem::File(path.clone())), KEY);
        match outcome {
            Ok(_) => assert!(!open, "{mode:o}"),
            Err(error) => {
                let text = error.to_string();
                assert!(open, "{text}");
                assert!(text.contains(&format!("(mode {mode:04o})")), "{text}");
                assert!(text.ends_with(&format!("run: chmod 600 {}", path.display())));
            }
        }
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let failure = |path: PathBuf, what| {
        let (bytes, place) = match read(Some(&Pem::File(path)), (what, "X")) {
            Ok(read) => read,
            Err(error) => return error.to_string(),
        };
        certificates(&bytes, what, place).unwrap_err().to_string()
    };
    let missing = failure(directory.path().join("absent.pem"), CA.0);
    assert!(missing.contains("absent.pem: no such file"), "{missing}");
    let folder = failure(directory.path().to_owned(), CA.0);
    assert!(folder.contains("is a directory"), "{folder}");
    let empty = failure(file("empty.pem", b""), CA.0);
    assert!(empty.contains("empty.pem is not usable: it holds no PEM block"), "{empty}");
    let text = failure(file("text.pem", b"hello"), CERTIFICATE.0);
    assert!(text.contains("client certificate in"), "{text}");
    let huge = failure(file("huge.pem", &vec![b'x'; FILE_BYTES_MAX + 1]), CA.0);
    assert!(huge.contains("larger than 262144 bytes"), "{huge}");
    let broken = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let broken = failure(file("broken.pem", broken), CA.0);
    assert!(broken.contains("broken.pem is not usable"), "{broken}");
}

#[test]
fn a_key_under_a_passphrase_is_told_apart_from_no_key() {
    let fault = |pem: &str| private_key(pem.as_bytes(), "k".to_owned()).unwrap_err();
    let pem = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(fault(pem).to_string().contains("passphrase"));
    assert!(fault("nothing").to_string().contains("no PEM block PRIVATE KEY"));
}

#[test]
fn i01_a_configuration_prints_no_key() {
    let config = Config::new("https://a:1").key_pem("TOP SECRET").ca_file("ca.pem");
    let printed = format!("{config:?}");
    assert!(!printed.contains("TOP SECRET") && !printed.contains("84, 79, 80"), "{printed}");
}
