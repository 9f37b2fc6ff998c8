//! The image runs where there is nothing else: in a folder that holds what is in it, and what a kubelet puts beside it, read-only, as the user
//! that it names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use support::certificates::Authority;
use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, map_spec};
use support::node::image::{self, Image};
use support::process::Process;
use support::tls_front::TlsFront;
use support::world::{PATIENCE, World, keys};
use support::{free_port, http, wait_for};

/// Where a Pod has the token of its ServiceAccount.
const SERVICE_ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// Starts a program in a folder that is all it sees, and that it cannot write to.
const IN_A_FOLDER: &str = r#"
root=$1; shift
mount --bind "$root" "$root"
mount --options remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups=65532 "$root" "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_image_holds_all_it_needs() {
    if !image::possible("the image") {
        return;
    }
    let mut world = World::without_operator().await;
    let image = image::build(world.folder());
    let unpacked = world.folder().join("unpacked");
    let configuration = unpack(&image, &unpacked);
    assert_eq!(configuration["User"], "65532:65532");
    let entrypoint = configuration["Entrypoint"].as_array().unwrap();
    let labels = &configuration["Labels"];
    assert_eq!(labels["org.opencontainers.image.title"], "aws-assume-role");
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    nothing_gives_other_rights(&unpacked);

    // AWS has a name that only the hosts file of the Pod knows, and a certificate.
    let authority = Authority::new(&world.folder().join("authority"));
    let target = world.aws.url().strip_prefix("http://").unwrap().parse().unwrap();
    let aws = TlsFront::start(target, &authority.issue("aws.test")).await;
    let put = |path: &str, text: &str| {
        let path = unpacked.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("etc/hosts", "127.0.0.1 aws.test\n");
    put(
        "authority/ca.crt",
        &fs::read_to_string(authority.certificate()).unwrap(),
    );
    let certificates = world.folder().join("certificates/apiserver.crt");
    let token = [
        "create",
        "token",
        OPERATOR_SERVICE_ACCOUNT,
        "--namespace",
        OPERATOR_NAMESPACE,
    ];
    put(
        &format!("{SERVICE_ACCOUNT}/token"),
        world.cluster.kubectl_ok(&token).trim(),
    );
    put(
        &format!("{SERVICE_ACCOUNT}/ca.crt"),
        &fs::read_to_string(certificates).unwrap(),
    );
    put(&format!("{SERVICE_ACCOUNT}/namespace"), OPERATOR_NAMESPACE);

    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", IN_A_FOLDER, "sh"])
        .arg(&unpacked)
        .args(entrypoint.iter().map(|word| word.as_str().unwrap()))
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", world.cluster.port().to_string())
        .env("POD_NAMESPACE", OPERATOR_NAMESPACE)
        .env("HTTP_ADDRESS", &address)
        .env("AWS_ENDPOINT_URL", format!("https://aws.test:{}", aws.address.port()))
        .env("AWS_CA_BUNDLE", "/authority/ca.crt")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    world.operator = Some(Process::start("operator", world.folder(), &command));

    world.apply("alone", &map_spec("alone")).unwrap();
    world.ready("alone").await;
    assert_eq!(keys(&world.secret("alone").await.unwrap()).len(), 3);
    wait_for("the image to be ready", PATIENCE, async || {
        let (status, _) = http::get(&format!("http://{address}/readyz")).await?;
        status.is_success().then_some(())
    })
    .await;
    let operator = world.operator.as_ref().unwrap();
    runs_as(operator.pid(), "65532");
    let log = operator.log();
    assert!(!log.contains("o such file"), "{log}");
}

/// Puts the layers over each other as a container runtime does, and gives what the image says of itself.
fn unpack(image: &Image, folder: &Path) -> Value {
    let layers = folder.with_extension("layers");
    untar(&image.archive, &layers);
    let read = |name: &str| -> Value { serde_json::from_str(&fs::read_to_string(layers.join(name)).unwrap()).unwrap() };
    let manifest = read("manifest.json");
    for layer in manifest[0]["Layers"].as_array().unwrap() {
        untar(&layers.join(layer.as_str().unwrap()), folder);
    }
    read(manifest[0]["Config"].as_str().unwrap())["config"].take()
}

fn untar(archive: &Path, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut command = Command::new("tar");
    command
        .arg("--extract")
        .arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(folder);
    assert!(command.status().unwrap().success());
}

/// Everything can be read by the user of the image, belongs to root, and is neither setuid nor for everybody to write to.
fn nothing_gives_other_rights(root: &Path) {
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let mode = metadata.permissions().mode();
            let readable = if metadata.is_dir() { 0o005 } else { 0o004 };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            let as_it_should = mode & 0o7022 == 0 && mode & readable == readable;
            assert!(metadata.is_symlink() || as_it_should, "{:?}: {mode:o}", entry.path());
        }
    }
}

fn runs_as(pid: u32, user: &str) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let words = |name: &str| -> Vec<String> {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(words("Uid:"), vec![user; 4]);
    assert_eq!(words("CapEff:"), ["0000000000000000"]);
}
