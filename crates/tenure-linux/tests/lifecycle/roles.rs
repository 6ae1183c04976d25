//! Other processes that the tests of lifecycles need: managers that die, and starts that find what the dead left.

use crate::ground::{Storage, inside, start_keeper};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tenure_environment::Driver as _;
use tenure_linux::LinuxDriver;

const ROLE: &str = "TENURE_TEST_ROLE";
const DATA_DIR: &str = "TENURE_TEST_DATA_DIR";

/// Plays its role, if this process was started for one; then it never returns. Must be called before any thread is started.
pub fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let data_dir = std::env::var_os(DATA_DIR).unwrap();
    let keeper = start_keeper(Path::new(&data_dir), Storage::Pool, true);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let driver = LinuxDriver::connect(keeper).unwrap();
        driver.host_found().await.unwrap();
        if role == "manager" {
            let env = driver.create(inside::spec()).await.unwrap();
            let sleep =
                env.connect().await.unwrap().exec(inside::command(&["sleep", "1000"]), Vec::new()).await.unwrap();
            println!("up");
            std::io::stdout().flush().unwrap();
            tokio::time::sleep(Duration::from_secs(600)).await;
            drop(sleep);
        }
        driver.shut_down().await;
    });
    std::process::exit(0);
}

fn start(role: &str, data_dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role).env(DATA_DIR, data_dir).stdout(Stdio::piped()).spawn().unwrap()
}

/// A manager in a process of its own, with one environment in which a program runs.
pub fn manager(data_dir: &Path) -> Child {
    let mut child = start("manager", data_dir);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    child
}

/// Starts once over this data directory, takes down what the dead left there, and ends.
pub fn sweep(data_dir: &Path) {
    assert!(start("sweep", data_dir).wait().unwrap().success());
}
