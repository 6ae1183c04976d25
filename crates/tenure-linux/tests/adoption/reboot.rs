//! After a boot of the host: environments are made again over their files, by a manager in another boot, whatever was killed on the way.

use crate::boot::{Boot, kill_all, volumes};
use crate::host::{self, agents, is_frozen, until};
use crate::manager::{Manager, Place};
use libtest_mimic::Trial;
use serde_json::json;

pub fn tests() -> Vec<Trial> {
    crate::tests![
        what_every_driver_promises_of_remaking_holds,
        what_a_boot_ended_is_made_again_over_its_files,
        what_a_power_cut_took_from_the_facts_the_volume_still_says,
        one_whose_volume_is_gone_is_lost,
        one_that_could_not_be_made_again_keeps_its_files,
        a_full_one_is_made_again_and_stays_full,
        whatever_is_killed_while_it_is_made_again_its_files_stay,
        what_died_in_the_same_boot_is_not_made_again,
        what_a_boot_left_of_nobody_is_discarded,
        an_ordinary_users_is_made_again_too,
    ]
}

/// EN-11
fn what_every_driver_promises_of_remaking_holds() {
    let (place, boot) = (Place::new(), Boot::new(1));
    let mut first = Manager::start(place.path());
    let id = first.ask(json!({ "do": "leave_files" }))["id"].as_str().unwrap().to_owned();
    kill_all(&place, first);
    let mut second = Manager::start_in(&boot, place.path());
    second.does("remaking", &id);
    place.end(second);
}

/// EN-11, GV-1: the same files, other processes, the limit of the disk on both.
fn what_a_boot_ended_is_made_again_over_its_files() {
    let (place, boot) = (Place::new(), Boot::new(1));
    let mut first = Manager::start(place.path());
    let id = first.create();
    let script = "echo before >/workspace/kept && ln -s kept /workspace/link && mkdir -m 750 /workspace/dir";
    first.run(&id, script);
    let bytes = first.does("observe", &id)["disk_limit_bytes"].clone();
    first.exec(&id, "stays", "sleep 1000", &place.output());
    kill_all(&place, first);

    let mut second = Manager::start_in(&boot, place.path());
    assert_eq!(second.known(), std::slice::from_ref(&id));
    let found = second.adopt(&id);
    assert_eq!((&found["found"], &found["generation"]), (&json!("survived"), &json!(1)));
    let evidence = found["evidence"].as_str().unwrap();
    assert!(evidence.contains("booted") && evidence.contains(&Boot::id(1)), "{evidence}");
    assert!(agents(place.uuid()).is_empty(), "nothing was started for that");
    assert_eq!(second.does("remake", &id)["generation"], 2);
    let script = "cat /workspace/link && stat -c %a /workspace/dir && echo after >/workspace/kept";
    assert_eq!(second.run(&id, script), "before\n750\n");
    let execs = second.does("execs", &id);
    assert!(execs["execs"].as_array().unwrap().iter().all(|exec| exec["exec_id"] != "stays"), "{execs}");
    assert_eq!(second.does("observe", &id)["disk_limit_bytes"], bytes);
    assert_eq!(second.adopt_in(&id, 2), json!({ "found": "alive" }));
    assert_eq!(second.adopt_in(&id, 1)["found"], "lost");
    assert_eq!(second.known(), std::slice::from_ref(&id));
    // The next boot finds the second life.
    let again = Boot::new(2);
    kill_all(&place, second);
    let mut third = Manager::start_in(&again, place.path());
    let found = third.adopt_in(&id, 2);
    assert_eq!((&found["found"], &found["generation"]), (&json!("survived"), &json!(2)));
    third.ask(json!({ "do": "remake", "id": id, "generation": 3 }));
    assert_eq!(third.run(&id, "cat /workspace/kept"), "after\n");
    third.does("freeze", &id);
    assert!(is_frozen(place.uuid()));
    third.does("destroy", &id);
    assert!(third.known().is_empty());
    place.end(third);
}

/// EN-11: facts are not synced; the volume is as durable as what is in it.
fn what_a_power_cut_took_from_the_facts_the_volume_still_says() {
    for spoil in
        [|path: &std::path::Path| std::fs::remove_file(path), |path: &std::path::Path| std::fs::write(path, "")]
    {
        let (place, boot) = (Place::new(), Boot::new(1));
        let mut first = Manager::start(place.path());
        let id = first.create();
        first.run(&id, "echo before >/workspace/kept");
        let (facts, _) = place.facts();
        kill_all(&place, first);
        spoil(&facts).unwrap();
        let mut second = Manager::start_in(&boot, place.path());
        let found = second.adopt(&id);
        assert_eq!((&found["found"], &found["generation"]), (&json!("survived"), &json!(1)));
        second.does("remake", &id);
        assert_eq!(second.run(&id, "cat /workspace/kept"), "before\n");
        second.does("destroy", &id);
        place.end(second);
    }
}

/// EN-11
fn one_whose_volume_is_gone_is_lost() {
    let (place, boot) = (Place::new(), Boot::new(1));
    let mut first = Manager::start(place.path());
    let (gone, kept) = (first.create(), first.create());
    let keeper = first.keeper;
    let holds = |id: &str, path: &std::path::PathBuf| {
        std::fs::read_link(path.join("owner")).unwrap().to_str().unwrap().starts_with(id)
    };
    let found = volumes(keeper, &place.path().join("pool"), place.uuid());
    let volume = found.iter().find(|path| holds(&gone, path)).unwrap();
    // The pool is mounted for as long as the keeper lives.
    host::signal(keeper, rustix::process::Signal::STOP);
    for pid in agents(place.uuid()) {
        host::kill(pid);
    }
    std::fs::remove_file(volume.join("owner")).unwrap();
    std::fs::remove_dir_all(volume).unwrap();
    kill_all(&place, first);
    let mut second = Manager::start_in(&boot, place.path());
    let found = second.adopt(&gone);
    assert_eq!(found["found"], "lost");
    let evidence = found["evidence"].as_str().unwrap();
    assert!(evidence.contains("booted") && evidence.contains("did not survive"), "{evidence}");
    assert!(second.tell(json!({ "do": "remake", "id": gone }))["error"].as_str().unwrap().contains("gone"));
    assert_eq!(second.adopt(&kept)["found"], "survived");
    second.does("discard", &gone);
    assert_eq!(second.known(), std::slice::from_ref(&kept));
    second.does("discard", &kept);
    assert!(second.known().is_empty() && volumes(second.keeper, &place.path().join("pool"), place.uuid()).is_empty());
    place.end(second);
}

/// EN-11: what fails costs no files, wherever it fails; the next try finds them.
fn one_that_could_not_be_made_again_keeps_its_files() {
    let (place, boot) = (Place::new(), Boot::new(1));
    let mut first = Manager::start(place.path());
    let id = first.create();
    first.run(&id, "echo before >/workspace/kept && head -c 40000000 /dev/urandom >/workspace/large && sync");
    kill_all(&place, first);
    let mut second = Manager::start_in(&boot, place.path());
    // There is no room for what an overlay needs, which shows late: the first process mounts it.
    for _ in 0..3 {
        let failed = second.tell(json!({ "do": "remake", "id": id, "disk": 1 << 20 }));
        assert!(failed["error"].is_string(), "{failed}");
        until("it was taken down", || agents(place.uuid()).is_empty());
        assert_eq!(second.adopt(&id)["found"], "survived");
    }
    second.does("remake", &id);
    assert_eq!(second.run(&id, "cat /workspace/kept"), "before\n");
    assert_eq!(second.known(), std::slice::from_ref(&id));
    second.does("destroy", &id);
    place.end(second);
}

/// EN-11, GV-1: what filled its disk is made again, and is held to its limit again.
fn a_full_one_is_made_again_and_stays_full() {
    let (place, boot) = (Place::new(), Boot::new(1));
    let mut first = Manager::start(place.path());
    let limit = 24 << 20;
    let id = first.ask(json!({ "do": "create", "disk": limit }))["id"].as_str().unwrap().to_owned();
    first.run(
        &id,
        "! head -c 40000000 /dev/urandom >/workspace/large; ! echo more >/workspace/more || rm /workspace/more; true",
    );
    kill_all(&place, first);
    let mut second = Manager::start_in(&boot, place.path());
    second.ask(json!({ "do": "remake", "id": id, "disk": limit }));
    assert_eq!(second.does("observe", &id)["disk_limit_bytes"], limit);
    second.run(&id, "! head -c 1000000 /dev/urandom >/workspace/more");
    second.run(&id, "rm /workspace/large && sync && echo room >/workspace/more");
    second.does("destroy", &id);
    place.end(second);
}

/// EN-11: manager, keeper or both are killed at any instant of it; the next one makes it again, or finds it made.
fn whatever_is_killed_while_it_is_made_again_its_files_stay() {
    let place = Place::new();
    let mut manager = Manager::start(place.path());
    let id = manager.create();
    manager.run(&id, "echo before >/workspace/kept");
    kill_all(&place, manager);
    let (mut generation, mut boots, mut finished) = (1, 0, 0);
    for round in 0..12_u64 {
        boots += 1;
        let boot = Boot::new(boots);
        let mut cut = Manager::start_in(&boot, place.path());
        let found = cut.adopt_in(&id, generation + 1);
        assert_eq!(found["found"], "survived", "round {round}: {found}");
        generation = found["generation"].as_u64().unwrap();
        cut.tell_only(json!({ "do": "remake", "id": id, "generation": generation + 1 }));
        std::thread::sleep(std::time::Duration::from_millis(round * 9));
        let keeper = cut.keeper;
        cut.kill();
        if round % 2 == 1 {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(keeper).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
        let mut next = Manager::start_in(&boot, place.path());
        let found = next.adopt_in(&id, generation + 1);
        match found["found"].as_str().unwrap() {
            "survived" => drop(next.remake_in_time(&id, generation + 1)),
            "alive" => finished += 1,
            other => panic!("round {round}: {other}: {found}"),
        }
        generation += 1;
        assert_eq!(next.run(&id, "cat /workspace/kept"), "before\n", "round {round}");
        assert_eq!(next.known(), std::slice::from_ref(&id));
        kill_all(&place, next);
    }
    println!("of 12, {finished} had been finished");
    let mut last = Manager::start_in(&Boot::new(99), place.path());
    last.does("discard", &id);
    place.end(last);
}

/// EN-10, EN-11: within one boot a death is a loss.
fn what_died_in_the_same_boot_is_not_made_again() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    kill_all(&place, first);
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id)["found"], "ended");
    assert!(second.tell(json!({ "do": "remake", "id": id }))["error"].as_str().unwrap().contains("gone"));
    second.does("discard", &id);
    place.end(second);
}

/// EN-11, TM-8
fn what_a_boot_left_of_nobody_is_discarded() {
    let (place, boot) = (Place::new(), Boot::new(1));
    let mut first = Manager::start_with(place.path(), 1);
    let id = first.ask(json!({ "do": "create", "pooled": true }))["id"].as_str().unwrap().to_owned();
    until("the pool is full", || first.ask(json!({ "do": "pooled" }))["pooled"] == 1);
    kill_all(&place, first);
    let mut second = Manager::start_in(&boot, place.path());
    assert_eq!(second.known(), std::slice::from_ref(&id), "what waited for somebody is gone");
    let owned = || volumes(second.keeper, &place.path().join("pool"), place.uuid()).len();
    assert_eq!(owned(), 1);
    second.does("discard", &id);
    place.end(second);
}

/// EN-11: also where files are plain directories and one user is all there is.
fn an_ordinary_users_is_made_again_too() {
    let (place, boot) = (Place::of_nobody(), Boot::new(1));
    let mut first = Manager::start(place.path());
    let id = first.create();
    first.run(&id, "echo before >/workspace/kept");
    kill_all(&place, first);
    let mut second = Manager::start_in(&boot, place.path());
    assert_eq!(second.adopt(&id)["found"], "survived");
    second.does("remake", &id);
    assert_eq!(second.run(&id, "cat /workspace/kept"), "before\n");
    second.does("destroy", &id);
    place.end(second);
}
