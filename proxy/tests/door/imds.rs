//! The firewall rules of SECURITY.md: only our user reaches the metadata service. For real, in a
//! network namespace of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::users::{NOBODY, text};

/// Who is entrapool in here.
const ENTRAPOOL: u32 = 65_533;

/// A network of its own, gone at the end.
struct Network(String);

/// A VM, and the host that has its metadata service.
fn vm_and_host(name: &str) -> (Network, Network) {
    let (vm, host) = (
        Network::new(&format!("{name}-vm")),
        Network::new(&format!("{name}-host")),
    );
    let link = ["link", "add", "eth0", "netns", &vm.0, "type", "veth"];
    let peer = ["peer", "name", "eth0", "netns", &host.0];
    ok(Command::new("ip").args(link).args(peer));
    for (network, address) in [
        (&vm, "10.7.0.4/24"),
        (&host, "10.7.0.1/24"),
        (&host, "169.254.169.254/32"),
    ] {
        network.run("ip", &["address", "add", address, "dev", "eth0"]);
        network.run("ip", &["link", "set", "eth0", "up"]);
    }
    vm.run("ip", &["route", "add", "default", "via", "10.7.0.1"]);
    (vm, host)
}

impl Network {
    fn new(name: &str) -> Self {
        let network = Self(format!("entrapool-{name}-{}", std::process::id()));
        ok(Command::new("ip").args(["netns", "add", &network.0]));
        network.run("ip", &["link", "set", "lo", "up"]);
        network
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        // Root's own programs may be closed to others.
        command.env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        ok(self.command(program).args(arguments));
    }

    /// What a user gets from the metadata service.
    fn ask(&self, uid: u32) -> Output {
        let script = "import urllib.request; \
            url = 'http://169.254.169.254/metadata/identity/oauth2/token'; \
            request = urllib.request.Request(url, headers={'Metadata': 'true'}); \
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({})); \
            print(opener.open(request, timeout=5).read().decode())";
        let user = [format!("--reuid={uid}"), format!("--regid={uid}")];
        let mut command = self.command("setpriv");
        command
            .args(user)
            .args(["--clear-groups", "python3", "-c", script]);
        command.output().unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _gone = Command::new("ip")
            .args(["netns", "delete", &self.0])
            .status();
    }
}

fn ok(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

/// A metadata service as far as the firewall is concerned: it answers whoever reaches it.
struct Service(std::process::Child);

impl Service {
    fn start(host: &Network, vm: &Network) -> Self {
        let script = "from http.server import *\n\
            class H(BaseHTTPRequestHandler):\n\
            \x20   def do_GET(self):\n\
            \x20       self.send_response(200); self.end_headers(); self.wfile.write(b'a token')\n\
            \x20   def log_message(self, *_): pass\n\
            HTTPServer(('169.254.169.254', 80), H).serve_forever()";
        let mut command = host.command("python3");
        let service = Self(command.args(["-c", script]).spawn().unwrap());
        let began = Instant::now();
        while !vm.ask(0).status.success() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "it does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// The code blocks of SECURITY.md with this language, with our user instead of the name.
fn recipe(language: &str) -> String {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SECURITY.md");
    let page = std::fs::read_to_string(file).unwrap();
    let fence = format!("```{language}\n");
    let (_, rest) = page.split_once(&fence).expect("the recipe is there");
    let (recipe, _) = rest.split_once("```").unwrap();
    let ours = recipe.replace("\"entrapool\"", &ENTRAPOOL.to_string());
    ours.replace("--uid-owner entrapool", &format!("--uid-owner {ENTRAPOOL}"))
}

/// Before the rules everybody has a token, behind them only we and root.
fn keeps_others_out(name: &str, apply: impl FnOnce(&Network)) {
    let (vm, host) = vm_and_host(name);
    let _service = Service::start(&host, &vm);
    for uid in [ENTRAPOOL, NOBODY, 0] {
        let output = vm.ask(uid);
        assert!(
            text(&output).contains("a token"),
            "{uid}: {}",
            text(&output)
        );
    }
    apply(&vm);
    for uid in [ENTRAPOOL, 0] {
        let output = vm.ask(uid);
        assert!(
            text(&output).contains("a token"),
            "{uid}: {}",
            text(&output)
        );
    }
    let began = Instant::now();
    let output = vm.ask(NOBODY);
    assert!(!output.status.success() && !text(&output).contains("a token"));
    // At once: programs that look for an identity by asking should not wait.
    assert!(
        text(&output).contains("Connection refused"),
        "{}",
        text(&output)
    );
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
#[ignore = "needs root, ip and nft: makes a network namespace"]
fn nft_rules_let_only_our_user_reach_the_metadata_service() {
    keeps_others_out("nft", |network| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.nft");
        std::fs::write(&file, recipe("nft")).unwrap();
        network.run("nft", &["--file", file.to_str().unwrap()]);
    });
}

#[test]
#[ignore = "needs root, ip and iptables: makes a network namespace"]
fn iptables_rules_do_the_same() {
    keeps_others_out("iptables", |network| {
        network.run("sh", &["-ec", &recipe("iptables")]);
    });
}
