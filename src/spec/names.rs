//! What Kubernetes takes for the name of a Secret, for a label and for an annotation, and AWS for a Region. The schema says so too; a resource
//! that was stored under an older one may have anything there. A name goes into the path of requests as it is, and whatever else is wrong would
//! show only when the Secret is written, after AWS was asked.

/// The most characters of an object's name, and of the prefix of a label's key.
const SUBDOMAIN_MAX: usize = 253;

/// The most characters of a label's value, of the name in its key, and of one label of a host name.
const NAME_MAX: usize = 63;

/// Whether an object can have that name: a DNS subdomain.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    let part = |part: &str| is_bounded(part, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), b"-");
    text.len() <= SUBDOMAIN_MAX && text.split('.').all(part)
}

/// Whether a namespace can have that name: a DNS label.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
#[must_use]
pub fn is_namespace(text: &str) -> bool {
    text.len() <= NAME_MAX && is_bounded(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), b"-")
}

/// Whether a label can have that key: a name, behind a DNS subdomain if it has a prefix.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
pub(super) fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_object_name) && !name.is_empty() && is_label_value(name)
}

/// Whether a label can have that value.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || (text.len() <= NAME_MAX && is_bounded(text, |b| b.is_ascii_alphanumeric(), b"-_."))
}

/// Whether an annotation can have that key. Upper case in its prefix is no mistake, as it is in a label's.
/// <https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/api/validation/objectmeta.go> (`ValidateAnnotations`)
pub(super) fn is_annotation_key(text: &str) -> bool {
    is_label_key(&text.to_ascii_lowercase())
}

/// Whether it can be a Region: it becomes one label of a host name.
pub(super) fn is_region(text: &str) -> bool {
    text.len() <= NAME_MAX && is_bounded(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), b"-")
}

/// Whether a text is made of some bytes and others that stand only between them.
fn is_bounded(text: &str, at_the_ends: impl Fn(u8) -> bool, between: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| at_the_ends(*byte));
    end(bytes.first()) && end(bytes.last()) && bytes.iter().all(|byte| at_the_ends(*byte) || between.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_subdomain() {
        for good in ["a", "0", "my-secret", "my.secret", "a--b", &"a".repeat(253)] {
            assert!(is_object_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-.b",
            "A",
            "a_b",
            "a b",
            "ä",
            "a/b",
            "../b",
            "a?dryRun=All",
            "a#",
            "a%2fb",
            "a\n",
            "a\0",
            &"a".repeat(254),
        ] {
            assert!(!is_object_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn labels_and_annotations_are_as_kubernetes_takes_them() {
        for good in [
            "a",
            "A.b_c-D",
            "example.com/a",
            &format!("{}/{}", "a".repeat(253), "b".repeat(63)),
        ] {
            assert!(is_label_key(good) && is_annotation_key(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "a..b/c",
            "a b",
            "-a",
            &"a".repeat(64),
            "ä",
            "K/ä",
        ] {
            assert!(!is_label_key(bad) && !is_annotation_key(bad), "{bad:?}");
        }
        assert!(is_annotation_key("Example.com/A") && !is_label_key("Example.com/A"));
        for good in ["", "a", "A.b_c-D", &"a".repeat(63)] {
            assert!(is_label_value(good), "{good}");
        }
        for bad in [" ", "a b", "-a", "a-", "a/b", "a\n", &"a".repeat(64)] {
            assert!(!is_label_value(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_region_is_one_label_of_a_host_name() {
        assert!(is_region("eu-west-1") && is_region("us-isob-east-1"));
        for bad in [
            "",
            "-",
            "eu-west-1.example.com",
            "eu west",
            "eu-west-1/",
            "EU-WEST-1",
            "eu-west-",
            &"a".repeat(64),
        ] {
            assert!(!is_region(bad), "{bad:?}");
        }
    }
}
