//! One environment at its limits harms no other: it still answers, and new ones can be made.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod ground;

use ground::inside::{self, soon};
use ground::{Inside, Storage, keeper};
use std::time::{Duration, Instant};
use tenure_environment::ResourceLimits;
use tenure_environment::agent::Event;
use tenure_protocol::{Exec, Sink};

const MIB: u64 = 1 << 20;

fn main() {
    let trials = trials![
        a_fork_bomb_harms_nobody_else,
        a_memory_hog_harms_nobody_else,
        a_disk_filler_harms_nobody_else,
        a_processor_hog_harms_nobody_else,
        a_flood_of_output_harms_nobody_else,
        deep_directories_harm_nobody_and_can_be_removed,
        large_directories_harm_nobody_and_can_be_listed,
        many_connections_and_programs_harm_nobody_else,
        fifty_environments_at_once_keep_to_themselves,
    ];
    ground::main(&[Storage::Pool], trials);
}

async fn limited(limits: ResourceLimits) -> Inside {
    Inside::with(keeper(0), |spec| spec.limits = limits).await
}

/// While somebody attacks: one that is there answers, another one can be made, and both work.
async fn others_go_on(neighbour: &Inside) {
    for _ in 0..3 {
        neighbour.answers().await;
    }
    neighbour.write("/workspace/still", b"works").await.expect("files work");
    assert_eq!(neighbour.read("/workspace/still").await.unwrap(), b"works");
    let newcomer = Inside::new(keeper(0)).await;
    newcomer.answers().await;
    newcomer.destroy().await;
}

/// TM-7: within the grace and 5 s.
async fn is_gone_in_time(inside: &Inside, grace: Duration) {
    let begun = Instant::now();
    let ended = tokio::time::timeout(grace + Duration::from_secs(5), inside.env.destroy(grace)).await;
    ended.unwrap_or_else(|_| panic!("not gone after {:?}", begun.elapsed())).expect("it can be destroyed");
}

/// GV-4
async fn a_fork_bomb_harms_nobody_else() {
    let neighbour = Inside::new(keeper(0)).await;
    let bomber = limited(ResourceLimits { pids: 64, cpu_millis: 500, ..Default::default() }).await;
    bomber.background(inside::shell("bomb() { bomb | bomb & }; while :; do bomb; done")).await;
    let until = Instant::now() + Duration::from_secs(20);
    while bomber.observe().await.pids_refused.is_none_or(|refused| refused == 0) {
        assert!(Instant::now() < until, "the limit is reached");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    others_go_on(&neighbour).await;
    let seen = bomber.observe().await;
    assert!(seen.pids <= Some(65), "{seen:?}");
    soon(bomber.connect().await.ping()).await.expect("its own agent answers too");
    is_gone_in_time(&bomber, Duration::from_secs(1)).await;
    others_go_on(&neighbour).await;
}

/// GV-4
async fn a_memory_hog_harms_nobody_else() {
    let neighbour = Inside::new(keeper(0)).await;
    let hog = limited(ResourceLimits { memory_bytes: 64 * MIB, ..Default::default() }).await;
    let program = r#"
while True:
    pid = os.fork()
    if pid == 0: b"x" * (256 << 20)
    os.waitpid(pid, 0)
"#;
    hog.background(inside::python(program)).await;
    let until = Instant::now() + Duration::from_secs(20);
    while hog.observe().await.oom_kills.is_none_or(|kills| kills < 3) {
        assert!(Instant::now() < until, "the limit is reached");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    others_go_on(&neighbour).await;
    soon(hog.connect().await.ping()).await.expect("the agent is never the one that is killed");
    is_gone_in_time(&hog, Duration::ZERO).await;
}

/// GV-4
async fn a_disk_filler_harms_nobody_else() {
    let neighbour = Inside::new(keeper(0)).await;
    let filler = limited(ResourceLimits { disk_bytes: 64 * MIB, ..Default::default() }).await;
    let program = "while :; do dd if=/dev/zero of=fill bs=1M count=200 conv=fsync 2>/dev/null; rm -f fill; done";
    filler.background(inside::shell(program)).await;
    for _ in 0..5 {
        others_go_on(&neighbour).await;
        let seen = filler.observe().await;
        assert!(seen.disk_bytes <= Some(72 * MIB), "{seen:?}");
    }
    let ran = neighbour.sh("dd if=/dev/zero of=own bs=1M count=32 conv=fsync && echo written").await;
    assert_eq!(ran.out, "written\n", "{ran:?}");
    is_gone_in_time(&filler, Duration::from_secs(1)).await;
}

/// GV-4
async fn a_processor_hog_harms_nobody_else() {
    let neighbour = Inside::new(keeper(0)).await;
    let hog = limited(ResourceLimits { cpu_millis: 1000, ..Default::default() }).await;
    for _ in 0..8 {
        hog.background(inside::shell("nice -n -20 true; while :; do :; done")).await;
    }
    others_go_on(&neighbour).await;
    soon(hog.connect().await.ping()).await.expect("it answers as well");
    is_gone_in_time(&hog, Duration::from_secs(1)).await;
}

/// GV-4, EN-4
async fn a_flood_of_output_harms_nobody_else() {
    let neighbour = Inside::new(keeper(0)).await;
    let flooder = limited(ResourceLimits { memory_bytes: 64 * MIB, ..Default::default() }).await;
    let unread = flooder.start(inside::command(&["yes"])).await;
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let exec = Exec { sink: Sink::File { cap_bytes: 4 * MIB }, ..inside::command(&["yes"]) };
    let handed = vec![out.try_clone().unwrap().into(), err.into()];
    let filed = soon(flooder.connect().await.exec(exec, handed)).await.unwrap();
    others_go_on(&neighbour).await;
    flooder.answers().await;
    assert!(out.metadata().unwrap().len() <= 4 * MIB);
    let seen = flooder.observe().await;
    assert!(seen.memory_bytes <= Some(48 * MIB), "{seen:?}");
    drop((unread, filed));
    is_gone_in_time(&flooder, Duration::from_secs(1)).await;
}

/// EN-5, GV-4
async fn deep_directories_harm_nobody_and_can_be_removed() {
    let neighbour = Inside::new(keeper(0)).await;
    let digger = Inside::new(keeper(0)).await;
    let program = r#"
for top in ("removed", "left"):
    os.mkdir(top); os.chdir(top)
    for _ in range(5000):
        os.mkdir("d"); os.chdir("d")
    os.chdir("/workspace")
"#;
    digger.python(program).await.ok();
    others_go_on(&neighbour).await;
    let mut watcher = digger.connect().await;
    let _ = soon(async { watcher.list("/workspace/removed/d/d", 10).await.map(drop) }).await;
    let watched =
        tokio::time::timeout(Duration::from_secs(20), digger.connect().await.watch("/workspace/left", true)).await;
    drop(watched.expect("it is watched, or refused, in time"));
    let removed = soon(digger.connect().await.file_delete("/workspace/removed", true)).await;
    removed.expect("however deep it is");
    assert_eq!(digger.sh("ls").await.ok(), "left\n");
    is_gone_in_time(&digger, Duration::from_secs(1)).await;
}

/// EN-5, GV-4
async fn large_directories_harm_nobody_and_can_be_listed() {
    let neighbour = Inside::new(keeper(0)).await;
    let inside = Inside::new(keeper(0)).await;
    inside.python("os.mkdir('many')\nfor n in range(20_000): open(f'many/{n}', 'w').close()").await.ok();
    let mut client = inside.connect().await;
    let listing = soon(client.list("/workspace/many", 100_000)).await.unwrap();
    assert_eq!((listing.entries.len(), listing.truncated), (20_000, false));
    let listing = soon(client.list("/workspace/many", 100)).await.unwrap();
    assert_eq!((listing.entries.len(), listing.truncated), (100, true));
    others_go_on(&neighbour).await;
    soon(inside.connect().await.file_delete("/workspace/many", true)).await.unwrap();
    assert_eq!(inside.sh("ls").await.ok(), "");
}

/// GV-4
async fn many_connections_and_programs_harm_nobody_else() {
    let neighbour = Inside::new(keeper(0)).await;
    let inside = Inside::new(keeper(0)).await;
    let mut open = Vec::new();
    for _ in 0..300 {
        match soon(inside.env.connect()).await {
            Ok(client) => open.push(client),
            Err(_full) => break,
        }
    }
    assert!(open.len() >= 200, "{}", open.len());
    others_go_on(&neighbour).await;
    drop(open);
    // Some hundred programs, started and ended, leave nobody unreaped.
    for _ in 0..10 {
        inside.sh("for n in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.01 &) ; done").await.ok();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let processes = soon(inside.connect().await.processes()).await.unwrap().processes;
    assert!(!processes.iter().any(|process| process.state == "Z"), "{processes:?}");
}

/// EN-9
async fn fifty_environments_at_once_keep_to_themselves() {
    let tasks: Vec<_> = (0..50).map(|number| tokio::spawn(alone(number))).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    let mut bases: Vec<u32> = all.iter().map(|(_, base)| *base).collect();
    bases.sort_unstable();
    assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= 65_536), "{bases:?}");
    for (number, (inside, _)) in all.iter().enumerate() {
        // Looked at once more, now that all of them are there.
        let seen = inside.sh("cat /workspace/mine /tmp/mine; hostname; ls /workspace /tmp /dev/shm").await.ok();
        let expected =
            format!("{number}\n{number}\nhost-{number}\n/dev/shm:\nmine\n\n/tmp:\nmine\n\n/workspace:\nmine\n");
        assert_eq!(seen, expected);
    }
    let ends = all.iter().map(|(inside, _)| inside.env.destroy(Duration::ZERO));
    for end in ends {
        soon(end).await.unwrap();
    }
}

/// One of many: leaves its number wherever it can.
async fn alone(number: usize) -> (Inside, u32) {
    let made = Inside::with(keeper(0), |spec| {
        spec.hostname = format!("host-{number}");
        spec.env.insert("NUMBER".into(), number.to_string());
    });
    let inside = tokio::time::timeout(Duration::from_secs(60), made).await.expect("it is ready within a minute");
    let script =
        "for dir in /workspace /tmp /dev/shm; do echo $NUMBER >$dir/mine; done; awk '{ print $2 }' /proc/self/uid_map";
    let mut attached = inside.start(inside::shell(script)).await;
    let mut out = Vec::new();
    while let Some(event) = tokio::time::timeout(Duration::from_secs(60), attached.next()).await.unwrap().unwrap() {
        if let Event::Output(bytes) = event {
            out.extend(bytes);
        }
    }
    let base = String::from_utf8(out).unwrap().trim().parse().unwrap();
    (inside, base)
}
