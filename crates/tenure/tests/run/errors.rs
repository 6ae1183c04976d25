//! What `tenure run` says of its own failures: exit code 125, in words or as JSON.

use crate::support::{answer, data_dir};
use insta::assert_snapshot;

/// `tenure run` with these options and `true`, as a transcript.
fn refused(options: &str) -> String {
    answer(&mut data_dir().run(options, &["true"])).to_string()
}

/// CL-2: 125 is ours, so that no program's code is taken for it.
#[test]
fn an_option_that_is_not_there_is_refused() {
    assert_snapshot!(refused("--frob"), @r"
    ! error: unexpected argument '--frob' found
    !
    !   tip: to pass '--frob' as a value, use '-- --frob'
    !
    ! Usage: tenure run [OPTIONS] [CMD]...
    !
    ! For more information, try '--help'.
    [125]
    ");
}

/// CL-2: a value that makes no sense is refused with a reason.
#[test]
fn a_value_that_makes_no_sense_is_refused() {
    let first_line = |options: &str| {
        let text = refused(options);
        assert!(text.ends_with("[125]\n"), "{text}");
        text.lines().next().unwrap().to_owned()
    };
    assert_snapshot!(first_line("--memory lots"), @r#"! error: invalid value 'lots' for '--memory <BYTES>': "lots" is not a size such as 1048576, 512M, 1.5GiB or 2GB"#);
    assert_snapshot!(first_line("--cpu all"), @r#"! error: invalid value 'all' for '--cpu <CORES>': "all" is not a number of processors such as 2, 0.5 or 250m"#);
    assert_snapshot!(first_line("--timeout 0"), @"! error: invalid value '0' for '--timeout <TIME>': must be more than nothing");
    assert_snapshot!(first_line("--env =x"), @"! error: invalid value '=x' for '--env <NAME[=VALUE]>': a variable needs a name");
    assert_snapshot!(first_line("--file /etc/hostname"), @"! error: invalid value '/etc/hostname' for '--file <HOST:INSIDE>': must be HOST:INSIDE, with an absolute path inside");
}

/// GV-1: limits have bounds, and what is beyond them is refused with the limit's name.
#[test]
fn a_limit_beyond_its_bounds_is_refused() {
    assert_snapshot!(refused("--memory 4M"), @r"
    ! tenure: memory_bytes: is 4194304, allowed is at least 8388608 (8 MiB)
    [125]
    ");
    assert_snapshot!(refused("--pids 0"), @r"
    ! tenure: pids: is 0, allowed is 4 to 1000000
    [125]
    ");
    assert_snapshot!(refused("--cpu 0"), @r"
    ! tenure: cpu_millis: is 0, allowed is 10 to 1024000
    [125]
    ");
    assert_snapshot!(refused("--disk 1K"), @r"
    ! tenure: disk_bytes: is 1024, allowed is at least 1048576 (1 MiB)
    [125]
    ");
}

/// TP-1: an unknown template is named, and where to look.
#[test]
fn an_unknown_template_is_refused() {
    assert_snapshot!(refused("--template nope"), @r#"
    ! tenure: there is no template called "nope"
    !   hint: `tenure template list` shows those there are
    [125]
    "#);
}

/// CL-2: no program is a mistake of the caller's.
#[test]
fn no_program_is_refused() {
    assert_snapshot!(answer(&mut data_dir().run("", &[])), @r"
    ! tenure: no program was given, and the template has none of its own
    !   hint: tenure run -- CMD…
    [125]
    ");
}

/// CL-2: what cannot be copied in is said, and nothing runs.
#[test]
fn a_file_that_cannot_be_copied_is_refused() {
    assert_snapshot!(refused("--file /no/such/file:/workspace/x"), @r"
    ! tenure: cannot read /no/such/file: No such file or directory (os error 2)
    [125]
    ");
    assert_snapshot!(refused("--file /dev/null:/workspace/x"), @r"
    ! tenure: /dev/null is neither a file nor a directory
    [125]
    ");
}

/// CL-2: with --json an error is one object on standard error, whatever kind of error.
#[test]
fn with_json_errors_are_objects() {
    let told = |options: &str, program: &str| {
        let answer = answer(&mut data_dir().run(&format!("--json {options}"), &[program]));
        assert_eq!(answer.out(), "");
        let error = answer.json_error();
        assert_eq!(error["error"], true);
        assert!(error["message"].is_string() && error["details"].is_object(), "{error}");
        (answer.code, error["code"].as_str().unwrap().to_owned(), error)
    };
    let check = |options: &str, program: &str, code: i32, name: &str| {
        let (found_code, found_name, error) = told(options, program);
        assert_eq!((found_code, found_name.as_str()), (code, name), "{error}");
        error
    };
    check("", "no-such-program", 127, "COMMAND_NOT_FOUND");
    check("", "/etc/passwd", 126, "COMMAND_REFUSED");
    check("--frob", "true", 125, "USAGE");
    check("--user nobody-knows", "true", 125, "VALIDATION");
    check("--template nope", "true", 125, "TEMPLATE_NOT_FOUND");
    let error = check("--memory 1", "true", 125, "VALIDATION");
    assert_eq!(error["details"]["invalid_fields"][0], "memory_bytes");
}

/// CL-2: a data directory that cannot be used is said with what to do.
#[test]
fn a_data_directory_that_cannot_be_used_is_refused() {
    assert_snapshot!(refused("--data-dir /dev/null/x"), @r"
    ! tenure: cannot use the data directory /dev/null/x: Not a directory (os error 20)
    !   hint: choose another one with --data-dir or TENURE_DATA_DIR
    [125]
    ");
}
