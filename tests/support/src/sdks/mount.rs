//! A Secret in a folder, as the kubelet mounts it: late, and all of it at once.
//!
//! The files are links into `..data`, itself a link to the folder of a version. Another version is written beside it, and then a renaming puts it
//! in place of the old one. <https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go>

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::task::JoinHandle;

use super::Clock;
use crate::fixtures::NAMESPACE;

/// How late the kubelet is, at least and at most, by a clock: it looks every minute, at what it may have kept for another.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets-as-files-from-a-pod>
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    pub least: Duration,
    pub most: Duration,
    pub clock: Clock,
}

/// The folder. It follows the Secret until it is dropped.
pub struct Mount {
    folder: PathBuf,
    follower: JoinHandle<()>,
}

impl Mount {
    /// Mounts a Secret that is there.
    pub async fn start(client: kube::Client, secret: &str, folder: &Path, lag: Lag) -> Self {
        let api: Api<Secret> = Api::namespaced(client, NAMESPACE);
        let folder = folder.to_owned();
        let first = api.get(secret).await.unwrap();
        fs::create_dir_all(&folder).unwrap();
        project(&folder, &first);
        let follower = tokio::spawn(follow(api, first, folder.clone(), lag));
        Self { folder, follower }
    }

    /// What a pod has at `/.aws`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives up loudly if it follows no more.
    pub fn must_follow(&self) {
        assert!(
            !self.follower.is_finished(),
            "{} follows no more",
            self.folder.display()
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

async fn follow(api: Api<Secret>, mut shown: Secret, folder: PathBuf, lag: Lag) {
    let name = shown.metadata.name.clone().unwrap();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // A busy API server is asked again.
        let Ok(now) = api.get(&name).await else { continue };
        if now.data == shown.data {
            continue;
        }
        let late = lag.least + (lag.most - lag.least).mul_f64(fastrand::f64());
        tokio::time::sleep(lag.clock.wait(late)).await;
        project(&folder, &now);
        shown = now;
    }
}

fn project(folder: &Path, secret: &Secret) {
    let version = format!("..{}", secret.metadata.resource_version.as_deref().unwrap());
    fs::create_dir(folder.join(&version)).unwrap();
    for (key, value) in secret.data.iter().flatten() {
        fs::write(folder.join(&version).join(key), &value.0).unwrap();
        if fs::symlink_metadata(folder.join(key)).is_err() {
            symlink(Path::new("..data").join(key), folder.join(key)).unwrap();
        }
    }
    let before = fs::read_link(folder.join("..data")).ok();
    symlink(&version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if let Some(before) = before {
        fs::remove_dir_all(folder.join(before)).unwrap();
    }
}
