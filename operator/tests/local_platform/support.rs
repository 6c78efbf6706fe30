//! A folder of manifests, a state folder, and the program on them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Brokers are started by one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const OPERATOR: &str = env!("CARGO_BIN_EXE_mqtt-operator");

/// The broker program beside the operator's, when it is built.
fn broker() -> Option<PathBuf> {
    let named = std::env::var_os("DUNLIN_BROKER_BINARY").map(PathBuf::from);
    let beside = Path::new(OPERATOR).with_file_name("mqtt-broker");
    named.or_else(|| beside.is_file().then_some(beside))
}

/// Says that a test is left out; where everything is installed (`DUNLIN_TEST_REQUIRE` is `all`), that fails it.
fn left_out(why: &str) {
    let all = std::env::var_os("DUNLIN_TEST_REQUIRE").is_some_and(|what| what == "all");
    assert!(!all, "DUNLIN_TEST_REQUIRE=all, but this test would be left out: {why}");
    eprintln!("left out: {why}");
}

/// Manifests and state; what runs on them is stopped when this is dropped.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
    up: Option<Child>,
    broker: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Desk {
    /// With real brokers; `None` (and a line that says so) when they are not built.
    pub(crate) fn with_brokers() -> Option<Self> {
        let Some(broker) = broker() else {
            left_out("mqtt-broker is not built (cargo build -p broker)");
            return None;
        };
        Some(Self::with_program(broker))
    }

    /// With a script in the broker's place.
    pub(crate) fn with_script(script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let mut desk = Self::with_program(PathBuf::new());
        let path = desk.dir.path().join("mqtt-broker");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        desk.broker = path;
        desk
    }

    fn with_program(broker: PathBuf) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("m")).unwrap();
        let desk = Self { dir, up: None, broker, _turn: turn };
        let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
        for name in ["cluster.yaml", "users.yaml", "acl.yaml"] {
            let text = std::fs::read_to_string(quickstart.join(name)).unwrap();
            desk.write(name, &text);
        }
        desk
    }

    /// Where a manifest is.
    pub(crate) fn manifest(&self, name: &str) -> PathBuf {
        self.dir.path().join("m").join(name)
    }

    /// Writes a manifest as editors do: another file in its place.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.manifest(name);
        std::fs::write(path.with_extension("tmp"), text).unwrap();
        std::fs::rename(path.with_extension("tmp"), path).unwrap();
    }

    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.manifest(name)).unwrap();
        assert!(text.contains(from), "{name} does not contain {from:?}");
        self.write(name, &text.replace(from, to));
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.manifest(name)).unwrap();
    }

    pub(crate) fn state(&self, below: &str) -> PathBuf {
        self.dir.path().join("state").join(below)
    }

    pub(crate) fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.state(below)).unwrap_or_default()
    }

    /// `local up`, in the background.
    pub(crate) fn up(&mut self) {
        let manifests = self.dir.path().join("m");
        let command = self.command("up");
        self.start(command, &manifests);
    }

    /// The same, as somebody in the folder above would type it.
    pub(crate) fn up_with_relative_paths(&mut self) {
        let mut command = Command::new(OPERATOR);
        command.args(["local", "up", "--state", "state"]).current_dir(self.dir.path());
        self.start(command, Path::new("m"));
    }

    fn start(&mut self, mut command: Command, manifests: &Path) {
        let out = std::fs::File::create(self.dir.path().join("out")).unwrap();
        let child = command
            .arg("-f")
            .arg(manifests)
            .arg("--broker-binary")
            .arg(&self.broker)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        self.up = Some(child);
    }

    pub(crate) fn command(&self, what: &str) -> Command {
        let mut command = Command::new(OPERATOR);
        command.args(["local", what, "--state"]).arg(self.dir.path().join("state"));
        command.stdin(Stdio::null());
        command
    }

    /// A command's output, once it has ended.
    pub(crate) fn run(&self, what: &str, arguments: &[&str]) -> Output {
        self.command(what).args(arguments).output().unwrap()
    }

    /// A command in another folder, which says nothing of the state folder.
    pub(crate) fn run_in(&self, folder: &Path, what: &str) -> Output {
        let mut command = Command::new(OPERATOR);
        command.args(["local", what]).current_dir(folder).env_remove("DUNLIN_STATE");
        command.output().unwrap()
    }

    pub(crate) fn is_ready_within(&self, time: &str) {
        let output = self.run("status", &["--wait", time]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\nup printed:\n{}", self.printed());
    }

    pub(crate) fn object(&self, kind: &str, name: &str) -> Value {
        let output = self.run("get", &[kind, name, "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Status and message of a condition.
    pub(crate) fn condition(&self, kind: &str, name: &str, type_: &str) -> (String, String) {
        let object = self.object(kind, name);
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == type_);
        let text = |field: &str| {
            found.and_then(|found| found[field].as_str()).unwrap_or_default().to_owned()
        };
        (text("status"), text("message"))
    }

    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
    }

    pub(crate) fn until_printed(&self, text: &str) {
        self.until(&format!("{text:?} to be printed"), || self.printed().contains(text));
    }

    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(
                Instant::now() < deadline,
                "waited for {what}\nup printed:\n{}",
                self.printed()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Process ids of the brokers, as `local up` printed them last for each.
    pub(crate) fn broker_pids(&self) -> Vec<u32> {
        let mut pids = std::collections::BTreeMap::new();
        for line in self.printed().lines() {
            let Some((before, after)) = line.split_once(": started, process ") else { continue };
            let name = before.rsplit(' ').next().unwrap_or_default().to_owned();
            let pid = after.split(',').next().and_then(|pid| pid.parse().ok());
            pids.insert(name, pid.unwrap());
        }
        pids.into_values().collect()
    }

    pub(crate) fn operator_pid(&self) -> u32 {
        self.up.as_ref().unwrap().id()
    }

    /// Waits until `local up` has ended; its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut child = self.up.take().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end; it printed:\n{}", self.printed());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn stop(&mut self) {
        signal("TERM", self.operator_pid());
        assert_eq!(self.ended(), Some(0), "{}", self.printed());
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(mut child) = self.up.take() {
            signal("TERM", child.id());
            let _ = child.wait();
        }
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
}

pub(crate) fn is_alive(pid: u32) -> bool {
    // A process that ended and was not waited for is not alive.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}
