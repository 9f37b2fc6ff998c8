use super::*;

#[test]
fn where_identities_come_from_is_never_reached_through_a_proxy() {
    let none = Exceptions::new("");
    for uri in [
        "http://169.254.170.2/v2/credentials",
        "http://169.254.170.23/v1/credentials",
        "http://169.254.169.254/latest/api/token",
        "http://[fd00:ec2::23]/v1/credentials",
        "http://[fd00:ec2::254]/latest/api/token",
        "http://[FD00:0EC2:0::23]:80/v1/credentials",
        "http://127.0.0.1:1234/",
        "http://127.8.8.8/",
        "http://[::1]:80/",
        "http://[::ffff:169.254.170.23]/",
        "http://localhost:4566/",
        "http://LOCALHOST./",
    ] {
        assert!(none.hold(uri), "{uri}");
    }
    for uri in [
        "https://sts.eu-west-1.amazonaws.com/",
        "https://10.0.0.1/",
        "https://[fd00::1]/",
        "https://localhost.example.com/",
    ] {
        assert!(!none.hold(uri), "{uri}");
    }
}

#[test]
fn no_proxy_is_understood_in_its_usual_forms() {
    const STS: &str = "https://sts.eu-west-1.amazonaws.com/";
    for list in [
        "*",
        "amazonaws.com",
        ".amazonaws.com",
        "*.amazonaws.com",
        "sts.eu-west-1.amazonaws.com",
        "STS.eu-west-1.AmazonAWS.com",
        "sts.eu-west-1.amazonaws.com:443",
        ".amazonaws.com:443",
        "example.com, .amazonaws.com",
        "example.com .amazonaws.com",
    ] {
        assert!(Exceptions::new(list).hold(STS), "{list}");
    }
    for list in [
        "",
        "aws.com",
        "onaws.com",
        ".amazonaws.com:8443",
        "ecr.amazonaws.com",
        "eu-west-1",
        "s*",
    ] {
        assert!(!Exceptions::new(list).hold(STS), "{list}");
    }
    assert!(Exceptions::new("10.1.2.3").hold("http://10.1.2.3:8080/"));
    assert!(Exceptions::new("10.1.2.3:8080").hold("http://10.1.2.3:8080/"));
    assert!(!Exceptions::new("10.1.2.3:80").hold("http://10.1.2.3:8080/"));
    assert!(Exceptions::new("fd00::1").hold("http://[fd00:0::1]:8080/"));
    assert!(Exceptions::new("[fd00::1]:8080").hold("http://[fd00::1]:8080/"));
    assert!(!Exceptions::new("[fd00::1]:80").hold("http://[fd00::1]:8080/"));
}

#[test]
fn what_is_no_proxy_is_told() {
    for good in [
        "http://proxy.example.com:3128",
        "https://user:word@proxy.example.com",
        "proxy.example.com:3128",
        "10.0.0.1:3128",
    ] {
        assert!(proxy(good).is_some(), "{good}");
    }
    for bad in ["socks5://proxy:1080", "http://", "/a/path", "a b"] {
        assert!(proxy(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_bundle_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let complaint = |name: &str| trusting(&path(name)).unwrap_err().to_string();
    let absent = complaint("absent.pem");
    assert!(
        absent.contains("AWS_CA_BUNDLE") && absent.contains("absent.pem") && absent.contains("cannot be read"),
        "{absent}"
    );
    for (name, text) in [
        ("empty.pem", ""),
        (
            "key.pem",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ),
        (
            "nonsense.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        ("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n"),
    ] {
        fs::write(path(name), text).unwrap();
        let complaint = complaint(name);
        assert!(complaint.contains("no certificate"), "{complaint}");
    }
}
