//! Measures what the design note of the store claims: `cargo run --release -p tenure-sqlite --example measure [DIRECTORY]`.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made ends the program")]

#[path = "../tests/sample/mod.rs"]
mod sample;

use sample::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenure_session::{EnvironmentState, LeaseToken, State, TerminationReason};
use tenure_sqlite::{SqliteOptions, SqliteStore};
use tenure_store::{Changed, LeaseBeat, LeaseRenewed, Store};

const WRITERS: u32 = 64;
const ROUNDS: u32 = 400;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let directory = std::env::args().nth(1).map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
    let store = Arc::new(SqliteStore::open(SqliteOptions::new(directory.path().join("tenure.db"))).unwrap());
    one_by_one(&store).await;
    reads(&store).await;
    together(&store).await;
    due(&store).await;
}

async fn one_by_one(store: &SqliteStore) {
    let mut create_times = Vec::new();
    let mut activity_times = Vec::new();
    for n in 0..2000 {
        let create = create(n);
        create_times.push(timed(store.session_create(create)).await);
    }
    for n in 0..2000 {
        activity_times.push(timed(store.session_activity(&id(n), at(10), "exec")).await);
    }
    show("create with its audit entry, one at a time", create_times);
    show("activity, one at a time", activity_times);
}

async fn reads(store: &Arc<SqliteStore>) {
    let (unknown, known) = (id(u32::MAX), id(7));
    for _ in 0..1000 {
        store.session_get(&known).await.unwrap();
    }
    let begin = Instant::now();
    for n in 0..50_000 {
        store.session_get(&id(n % 2000)).await.unwrap().unwrap();
    }
    println!("point read of a session: {:.2?}", begin.elapsed() / 50_000);
    let begin = Instant::now();
    for _ in 0..50_000 {
        assert!(store.session_get(&unknown).await.unwrap().is_none());
    }
    println!("point read of no session: {:.2?}", begin.elapsed() / 50_000);
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        loop {
            writer.session_activity(&id(1), at(10), "exec").await.unwrap();
        }
    });
    let times: Vec<_> = {
        let mut times = Vec::new();
        for n in 0..20_000 {
            times.push(timed(store.session_get(&id(n % 2000))).await);
        }
        times
    };
    writing.abort();
    show("point read while somebody writes", times);
}

async fn together(store: &Arc<SqliteStore>) {
    crowd("activities, 64 writers", store, |store, writer, round| async move {
        store.session_activity(&id(writer), at(20 + i64::from(round)), "exec").await.unwrap();
    })
    .await;
    crowd("lease renewals, 64 writers", store, |store, writer, round| async move {
        let beat = LeaseBeat { id: id(writer), token: LeaseToken(1), at: at(5_000 * (i64::from(round) + 1)) };
        assert!(matches!(store.lease_renew(beat).await.unwrap(), LeaseRenewed::Renewed(_)));
    })
    .await;
    crowd("guarded changes of the environment, 64 writers", store, |store, writer, _| async move {
        let set = store.session_environment(&id(writer), 1, EnvironmentState::Ready, at(20), None).await.unwrap();
        assert!(matches!(set, Changed::Done(_)));
    })
    .await;
    crowd("moves with their audit entries, 64 writers", store, |store, writer, round| async move {
        let (from, to) = if round % 2 == 0 { (State::Ready, State::Paused) } else { (State::Paused, State::Ready) };
        assert!(matches!(store.session_move(move_to(writer, from, to)).await.unwrap(), Changed::Done(_)));
    })
    .await;
    crowd("creations, 64 writers", store, |store, writer, round| async move {
        store.session_create(create(100_000 + writer * ROUNDS + round)).await.unwrap();
    })
    .await;
}

async fn crowd<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    store: &Arc<SqliteStore>,
    work: impl Fn(Arc<SqliteStore>, u32, u32) -> F + Send + Sync + Copy + 'static,
) {
    let begin = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    work(store.clone(), writer, round).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    println!("{what}: {:.0}/s", f64::from(WRITERS * ROUNDS) / begin.elapsed().as_secs_f64());
}

async fn due(store: &SqliteStore) {
    let late = session(0).lifetime_ends_at;
    store.session_end(end(3, TerminationReason::Completed)).await.unwrap();
    let begin = Instant::now();
    let found = store.session_due(late, 1000).await.unwrap().len();
    println!("{found} of {} sessions that are due: {:.2?}", 2000 + WRITERS * ROUNDS, begin.elapsed());
}

async fn timed<T>(work: impl Future<Output = T>) -> Duration {
    let begin = Instant::now();
    work.await;
    begin.elapsed()
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!("{what}: {:.2?} median, {:.2?} 99th percentile", times[times.len() / 2], times[times.len() * 99 / 100]);
}
