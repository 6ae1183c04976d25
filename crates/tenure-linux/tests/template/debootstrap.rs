//! A template from a whole distribution. It takes minutes and a package mirror, so it runs only where `TENURE_TEST_DEBOOTSTRAP=1`
//! asks for it, as the long continuous-integration run does; elsewhere it is left out by design, not skipped.

use crate::workbench::{Bench, is_root, run, run_in, settings};
use tenure_linux::template::Source;

/// TP-1
#[test]
fn a_distribution_made_by_debootstrap_becomes_a_template() {
    if std::env::var_os("TENURE_TEST_DEBOOTSTRAP").is_none_or(|asked| asked != "1") {
        return;
    }
    assert!(is_root(), "debootstrap needs root");
    let bench = Bench::new();
    let root = bench.path("debian");
    let mut arguments = vec!["--variant=minbase".to_owned(), "stable".to_owned(), root.display().to_string()];
    arguments.extend(std::env::var("TENURE_TEST_DEBOOTSTRAP_MIRROR"));
    run("debootstrap", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let template = bench.templates.add("debian", &Source::Directory(root.clone()), settings()).unwrap();
    let line = "id -un 1000 && dpkg-query --show --showformat='${Status}\\n' base-files && stat -c %a /usr/bin/su";
    assert_eq!(run_in(&template.root, false, line), "user\ninstall ok installed\n4755\n");
    assert!(!template.root.join("dev/null").exists());
    run("rm", &["-rf", root.to_str().unwrap()]);
}
