//! How programs end, and what is left of those they started.

use crate::support::{Answer, answer, command, data_dir, eventually};
use insta::assert_snapshot;
use std::time::Duration;

fn script(script: &str) -> Answer {
    answer(&mut data_dir().script("", script))
}

/// CL-2: the program's own code is passed on.
#[test]
fn the_exit_code_is_the_programs_own() {
    for code in [0, 1, 7, 125, 255] {
        let answer = script(&format!("exit {code}"));
        assert_eq!((answer.code, answer.err().as_str()), (code, ""));
    }
}

/// EN-3: a signal is told as every shell tells it, and not taken for anything else.
#[test]
fn death_by_a_signal_is_128_and_its_number() {
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("USR1", 138)] {
        let answer = script(&format!("kill -{signal} $$"));
        assert_eq!((answer.code, answer.err().as_str()), (code, ""), "{signal}");
    }
}

/// CL-2: as `env` and every shell say it.
#[test]
fn a_program_that_is_not_there_is_127() {
    let dir = data_dir();
    assert_snapshot!(answer(&mut dir.run("", &["no-such-program"])), @r#"
    ! tenure: cannot run "no-such-program": program no-such-program does not exist, or its interpreter does not
    [127]
    "#);
    assert_snapshot!(answer(&mut dir.run("", &["/no/such/program"])), @r#"
    ! tenure: cannot run "/no/such/program": program /no/such/program does not exist, or its interpreter does not
    [127]
    "#);
}

/// CL-2: as `env` and every shell say it.
#[test]
fn a_program_that_cannot_be_run_is_126() {
    let dir = data_dir();
    assert_snapshot!(answer(&mut dir.run("", &["/etc/passwd"])), @r#"
    ! tenure: cannot run "/etc/passwd": program /etc/passwd: Permission denied
    [126]
    "#);
    assert_snapshot!(answer(&mut dir.run("", &["/usr"])), @r#"
    ! tenure: cannot run "/usr": program /usr: Permission denied
    [126]
    "#);
}

/// EN-3: a time limit is told apart from other ends, in words too.
#[test]
fn a_time_limit_is_124_and_says_so() {
    let dir = data_dir();
    assert_snapshot!(answer(&mut dir.run("--timeout 1s", &["sleep", "10"])), @r"
    ! tenure: ended after its time limit of 1s
    [124]
    ");
    // Whoever ignores the polite signal is not asked twice.
    let stubborn = answer(&mut dir.script("--timeout 0.2", "trap '' TERM; echo here; while :; do sleep 10; done"));
    assert_eq!((stubborn.code, stubborn.out().as_str()), (124, "here\n"));
}

/// EN-3: what a program says before its time is up is not lost.
#[test]
fn a_program_may_end_in_its_own_way_when_its_time_is_up() {
    let answer = answer(&mut data_dir().script("--timeout 0.5", "trap 'echo saved; exit 3' TERM; sleep 10 & wait"));
    assert_eq!((answer.code, answer.out().as_str()), (124, "saved\n"));
}

/// EN-1, TM-8: the end of the program is the end of its environment.
#[test]
fn what_a_program_leaves_in_the_background_keeps_nobody_waiting_and_is_gone() {
    let length = format!("1000.{}", std::process::id());
    let answer =
        script(&format!("sleep {length} & setsid sleep {length} & (trap '' TERM HUP; sleep {length}) & echo left"));
    assert_eq!((answer.code, answer.out().as_str()), (0, "left\n"));
    let still = || {
        let found = std::process::Command::new("pgrep").args(["-f", &format!("^sleep {length}")]).output().unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    assert_eq!(still(), "");
}

/// TM-8: runs in one data directory do not get into each other's way.
#[test]
fn several_runs_at_once_share_a_data_directory() {
    let dir = data_dir();
    let one = |number: i32| {
        let mut run = dir.script("", &format!("echo {number} >mine; sleep 0.3; cat mine; ls; exit {number}"));
        std::thread::spawn(move || answer(&mut run))
    };
    let runs: Vec<_> = (1..=4).map(|number| (number, one(number))).collect();
    for (number, run) in runs {
        let answer = run.join().unwrap();
        assert_eq!((answer.code, answer.out()), (number, format!("{number}\nmine\n")), "{}", answer.err());
    }
}

/// TM-8: nothing of a run stays in the data directory.
#[test]
fn a_run_leaves_its_data_directory_as_it_was() {
    let dir = crate::support::DataDir::new();
    let run = || answer(&mut dir.run("", &["true"])).code;
    let instances = || std::fs::read_dir(dir.path().join("instances")).unwrap().count();
    assert_eq!((run(), instances()), (0, 0));
    assert_eq!((run(), instances()), (0, 0));
    // The kernel lets go of a loop device a little later.
    let served = || {
        let listed = std::process::Command::new("losetup").args(["--list", "--output", "BACK-FILE"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().contains(&dir.path().display().to_string())
    };
    assert!(eventually(Duration::from_secs(10), || !served()));
}

/// CL-2: help is no failure, and names every option.
#[test]
fn help_shows_how() {
    assert_snapshot!(answer(command().args(["run", "--help"])), @r"
    Run a program in an environment of its own, which is gone afterwards

    Usage: tenure run [OPTIONS] [CMD]...

    Arguments:
      [CMD]...  The program and its arguments [default: the template's]

    Options:
          --template <NAME>     The root it runs in: a template's NAME or NAME@VERSION [default:
                                default]
          --timeout <TIME>      End it after this time, as in 30s, 5m
          --cpu <CORES>         Processor cores it may use, as in 0.5 or 2
          --memory <BYTES>      Memory it may use, as in 512M
          --pids <COUNT>        Processes and threads it may have
          --disk <BYTES>        Disk it may fill, as in 2G
      -e, --env <NAME[=VALUE]>  Set a variable; without a value it is taken from here
          --file <HOST:INSIDE>  Copy a file or directory in before it starts
      -w, --cwd <DIR>           Its working directory [default: the template's]
      -u, --user <USER>         Who it runs as: a name or number that the root knows
          --allow-unenforced    Run even where this host does not enforce a limit
      -i, --interactive         Keep standard input open; it always is, this is here for the habit
      -t, --tty                 Give it a terminal
      -h, --help                Print help

    Global options:
          --config <FILE>        The configuration [env: TENURE_CONFIG] [default:
                                 /etc/tenure/tenure.toml as root, else tenure/tenure.toml in the XDG
                                 configuration directory]
          --data-dir <DIR>       Where everything is kept [env: TENURE_DATA_DIR] [default:
                                 /var/lib/tenure as root, else the XDG state directory]
          --url <URL>            Where the server is [env: TENURE_URL] [default: where it listens on
                                 this host]
          --lease-token <TOKEN>  The token of the lease that one holds [env: TENURE_LEASE_TOKEN]
          --json                 Print JSON for programs instead of text for people
          --verbose              Say what is being done

    Exit code: the program's own, 128 and the signal's number if one ended it (137 if the kernel did for
    memory), 124 after --timeout, 126 and 127 if it cannot be run or found, 125 if tenure itself fails.
    ");
}
