//! A pod's processes, started and ended in kubelet's order from a real manifest.
//!
//! What is true: the sidecar is the static binary, with its manifest's arguments, as its manifest's
//! user, in a root that is empty and read-only but for the manifest's mounts; the workload identity
//! webhook's rules; the probe, the grace period. What is not: no cgroups, no network of its own (so
//! probes and metrics get a free port of 127.0.0.1), and the application's image is this machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use entrapool_emulator::probe::Probe;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::image::{ENTRYPOINT, empty_root};
use super::prometheus::free_port;
use crate::sidecar::Log;

/// What a cluster adds to a manifest.
pub(crate) struct Cluster {
    /// Lines for the beginning of `entrapool.toml`.
    pub(crate) program: String,
    /// Lines for its end, which is its last route.
    pub(crate) route: String,
    /// What the webhook gives to containers that are not skipped.
    pub(crate) injected: BTreeMap<String, String>,
    /// The projected token, at the directory of `AZURE_FEDERATED_TOKEN_FILE`.
    pub(crate) token: Vec<u8>,
    /// Files of the sidecar that kubelet makes or an image may hold, by their paths.
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
}

/// Where the token is mounted.
pub(crate) const TOKEN_FILE: &str = "/var/run/secrets/azure/tokens/azure-identity-token";

/// What every container runtime supplies (OCI runtime specification, default devices). The static
/// binary's randomness comes from there.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// A pod template and the objects that it names.
pub(crate) struct Pod {
    template: Value,
    volumes: BTreeMap<String, TempDir>,
    token: TempDir,
    cluster: Cluster,
    http: SocketAddr,
}

/// A container's process.
pub(crate) struct Running {
    child: Child,
    pub(crate) log: Log,
    _root: Option<TempDir>,
}

impl Pod {
    /// `template` is a pod template; its ConfigMaps are among `objects`.
    pub(crate) fn new(template: &Value, objects: &[Value], cluster: Cluster) -> Self {
        let spec = &template["spec"];
        let group = spec["securityContext"]["fsGroup"].as_u64();
        let group = group.and_then(|id| u32::try_from(id).ok());
        let volumes = list(&spec["volumes"]);
        let volumes = volumes
            .iter()
            .map(|volume| {
                let name = text(&volume["name"]).to_owned();
                (name, make_volume(volume, objects, &cluster, group))
            })
            .collect();
        let token = tempfile::tempdir().expect("a directory");
        open_up(token.path(), 0o755);
        let file = token
            .path()
            .join(TOKEN_FILE.rsplit('/').next().expect("a name"));
        std::fs::write(&file, &cluster.token).expect("a file");
        open_up(&file, 0o644);
        Self {
            template: template.clone(),
            volumes,
            token,
            cluster,
            http: ([127, 0, 0, 1], free_port()).into(),
        }
    }

    /// Where the sidecar's probes are.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// The directory behind a volume.
    pub(crate) fn volume(&self, name: &str) -> &Path {
        self.volumes[name].path()
    }

    /// How long a container may take to end.
    pub(crate) fn grace_period(&self) -> Duration {
        let seconds = &self.template["spec"]["terminationGracePeriodSeconds"];
        Duration::from_secs(seconds.as_u64().expect("a grace period"))
    }

    /// The sidecar's process; nothing has been asked of it yet.
    pub(crate) fn start_sidecar(&self) -> Running {
        let container = &self.template["spec"]["initContainers"][0];
        assert_eq!(container["restartPolicy"], "Always", "no native sidecar");
        let mounts = self.mounts(container);
        let points: Vec<_> = mounts.iter().map(|mount| mount.at.as_str()).collect();
        let root = empty_root(&points);
        let devices = DEVICES.iter().map(|path| (*path, Vec::new()));
        for (path, content) in self.cluster.files.clone().into_iter().chain(devices) {
            let at = inside(root.path(), path);
            std::fs::create_dir_all(at.parent().expect("a directory")).expect("a directory");
            std::fs::write(&at, &content).expect("a file");
            open_up(&at, 0o644);
        }
        let mut script = String::from("set -e\n");
        bind(&mut script, root.path(), root.path(), true);
        for device in DEVICES {
            bind(
                &mut script,
                Path::new(device),
                &inside(root.path(), device),
                false,
            );
        }
        for mount in &mounts {
            bind(
                &mut script,
                &mount.from,
                &inside(root.path(), &mount.at),
                mount.read_only,
            );
        }
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        let _ = writeln!(
            script,
            "exec setpriv --no-new-privs chroot --userspec={}:{} --groups={} {} \"$@\"",
            context["runAsUser"],
            context["runAsGroup"],
            self.template["spec"]["securityContext"]["fsGroup"],
            root.path().display(),
        );
        let mut arguments = vec![ENTRYPOINT.to_owned()];
        for argument in list(&container["args"]) {
            // This machine's network is not the pod's.
            let argument = text(argument);
            arguments.push(match argument.starts_with("--http=") {
                true => format!("--http={}", self.http),
                false => argument.to_owned(),
            });
        }
        self.spawn(&script, &arguments, self.environment(container), Some(root))
    }

    /// Asks the startup probe in the manifest's rhythm; how often it said no before it said yes.
    pub(crate) async fn started(&self, sidecar: &mut Running) -> u64 {
        let probe = &self.template["spec"]["initContainers"][0]["startupProbe"];
        let period = probe["periodSeconds"].as_u64().expect("a period");
        let threshold = probe["failureThreshold"].as_u64().expect("a threshold");
        let path = text(&probe["httpGet"]["path"]);
        for refused in 0..threshold {
            let reply = Probe::get(self.http, path).send().await;
            if reply.is_ok_and(|reply| reply.status == 200) {
                return refused;
            }
            sidecar.assert_alive();
            tokio::time::sleep(Duration::from_secs(period)).await;
        }
        panic!("it does not start:\n{}", sidecar.log.tail());
    }

    /// The application's process: the manifest's, or `command` in its place.
    pub(crate) fn start_application(&self, command: Option<&[&str]>) -> Running {
        let container = &self.template["spec"]["containers"][0];
        let layers = tempfile::tempdir().expect("a directory");
        // This machine, with a layer of its own on it that is gone with the process.
        let (at, root) = (layers.path().display(), layers.path().join("root"));
        let mut script = format!(
            "set -e\nmount -t tmpfs tmpfs {at}\nmkdir {at}/upper {at}/work {at}/root\n\
             mount -t overlay overlay -o lowerdir=/,upperdir={at}/upper,workdir={at}/work {at}/root\n\
             mount --rbind /dev {at}/root/dev\n"
        );
        for mount in self.mounts(container) {
            let point = inside(&root, &mount.at);
            let _ = writeln!(script, "mkdir -p {}", point.display());
            bind(&mut script, &mount.from, &point, mount.read_only);
        }
        let context = &container["securityContext"];
        let user = context["runAsUser"].as_u64().unwrap_or(10_001);
        let _ = writeln!(
            script,
            "exec setpriv --no-new-privs chroot --userspec={user}:{user} --groups={} {} \"$@\"",
            self.template["spec"]["securityContext"]["fsGroup"],
            root.display(),
        );
        let own = list(&container["command"]).iter().map(text);
        let arguments: Vec<_> = match command {
            Some(command) => command.iter().map(|word| (*word).to_owned()).collect(),
            None => own.map(ToOwned::to_owned).collect(),
        };
        self.spawn(
            &script,
            &arguments,
            self.environment(container),
            Some(layers),
        )
    }

    /// A container's variables: the manifest's, and the webhook's if it is not skipped.
    pub(crate) fn environment(&self, container: &Value) -> BTreeMap<String, String> {
        let own = list(&container["env"]).iter();
        let mut variables: BTreeMap<_, _> = own
            .map(|variable| {
                let value = text(&variable["value"]);
                (text(&variable["name"]).to_owned(), value.to_owned())
            })
            .collect();
        if self.gets_token(container) {
            variables.extend(self.cluster.injected.clone());
        }
        variables
    }

    /// The application's container.
    pub(crate) fn application(&self) -> &Value {
        &self.template["spec"]["containers"][0]
    }

    /// The webhook's rule: the label says which pods, the annotation whom to leave out.
    fn gets_token(&self, container: &Value) -> bool {
        let metadata = &self.template["metadata"];
        let skipped = &metadata["annotations"]["azure.workload.identity/skip-containers"];
        let mut skipped = text(skipped).split(';').map(str::trim);
        metadata["labels"]["azure.workload.identity/use"] == "true"
            && !skipped.any(|name| name == container["name"])
    }

    fn mounts(&self, container: &Value) -> Vec<Mount> {
        let own = list(&container["volumeMounts"]).iter();
        let mut mounts: Vec<_> = own
            .map(|mount| Mount {
                from: self.volume(text(&mount["name"])).to_owned(),
                at: text(&mount["mountPath"]).to_owned(),
                read_only: mount["readOnly"] == true,
            })
            .collect();
        if self.gets_token(container) {
            let (at, _) = TOKEN_FILE.rsplit_once('/').expect("a directory");
            mounts.push(Mount {
                from: self.token.path().to_owned(),
                at: at.to_owned(),
                read_only: true,
            });
        }
        mounts
    }

    fn spawn(
        &self,
        script: &str,
        arguments: &[String],
        variables: BTreeMap<String, String>,
        root: Option<TempDir>,
    ) -> Running {
        let mut command = Command::new("unshare");
        let mut child = command
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg("sh")
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare");
        let stderr = child.stderr.take().expect("it is piped");
        Running {
            child,
            log: Log::read(stderr),
            _root: root,
        }
    }
}

impl Running {
    /// Sends SIGTERM, as kubelet does.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let status = std::process::Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &id])
            .status();
        assert!(status.expect("there is a shell").success());
    }

    /// Its exit code; it must end in time.
    pub(crate) async fn exit(&mut self, limit: Duration) -> i32 {
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log.tail()));
        let status = ended.expect("it can be waited for");
        status.code().expect("no signal ended it")
    }

    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("it can be asked after");
        if let Some(status) = ended {
            panic!("it ended: {status}\n{}", self.log.tail());
        }
    }
}

struct Mount {
    from: PathBuf,
    at: String,
    read_only: bool,
}

fn make_volume(
    volume: &Value,
    objects: &[Value],
    cluster: &Cluster,
    group: Option<u32>,
) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    if volume["emptyDir"].is_object() {
        // Kubelet: open to all, and new files are of the pod's group.
        chown(folder.path(), None, group).expect("as root only");
        open_up(folder.path(), 0o2777);
        return folder;
    }
    let name = &volume["configMap"]["name"];
    let map = objects
        .iter()
        .find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == *name);
    let map = map.unwrap_or_else(|| panic!("no ConfigMap {name}"));
    for (file, content) in map["data"].as_object().expect("data") {
        let mut content = text(content).to_owned();
        if file == "entrapool.toml" {
            content = format!("{}\n{content}{}\n", cluster.program, cluster.route);
        }
        let path = folder.path().join(file);
        std::fs::write(&path, content).expect("a file");
        open_up(&path, 0o644);
    }
    open_up(folder.path(), 0o755);
    folder
}

fn open_up(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("its mode");
}

fn bind(script: &mut String, from: &Path, at: &Path, read_only: bool) {
    let (from, at) = (from.display(), at.display());
    let _ = writeln!(script, "mount --bind {from} {at}");
    if read_only {
        let _ = writeln!(script, "mount -o remount,bind,ro {at}");
    }
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
