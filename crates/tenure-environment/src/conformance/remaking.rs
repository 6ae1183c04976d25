//! What every driver promises of environments that are made again over the files which survived the host's boot.
//!
//! A suite cannot boot its host. So it comes in two halves: [`leave_files`] before, [`what_a_boot_ended_is_made_again`] after whatever counts as a boot.

use super::file::{read, write};
use super::{command, connect, soon, start};
use crate::adopt::{Adopt, Adopted};
use crate::driver::{Driver, Environment};
use crate::error::EnvironmentError;
use crate::id::{EnvironmentId, Generation};
use crate::spec::EnvironmentSpec;

/// The file of [`leave_files`].
const KEPT: &str = "/workspace/kept";

/// EN-11: only what a boot ended is made again. The environment lives, and is left alone.
pub async fn what_lives_is_not_made_again(driver: &dyn Driver, env: &dyn Environment, base: &str) {
    for id in [env.id().clone(), EnvironmentId::generate().unwrap()] {
        let spec = EnvironmentSpec { generation: env.generation().next(), ..EnvironmentSpec::new(id.clone(), base) };
        let made = soon(driver.remake(spec)).await;
        assert!(matches!(made, Err(EnvironmentError::Gone)), "{:?}", made.err());
        assert_eq!(soon(driver.known()).await.unwrap().contains(&id), &id == env.id(), "nothing is left behind");
    }
    soon(connect(env).await.ping()).await.expect("it goes on");
}

/// The first half: files, and a program that runs when the host boots.
pub async fn leave_files(env: &dyn Environment) {
    write(env, KEPT, b"before").await;
    drop(start(env, command(&["sleep", "1000"])).await.expect("sleep starts"));
}

/// EN-11: the second half, with the spec of the life that left them. It is gone afterwards.
pub async fn what_a_boot_ended_is_made_again(driver: &dyn Driver, first: &EnvironmentSpec) {
    let stored = Adopt::new(first.id.clone(), first.generation);
    assert!(soon(driver.known()).await.unwrap().contains(&first.id), "it is nobody's to take down");
    // Stored may be the life that left the files, or one that was announced and never began.
    for generation in [first.generation, first.generation.next()] {
        let found = soon(driver.adopt(Adopt { generation, ..stored.clone() })).await.unwrap();
        let Adopted::Survived { generation, .. } = found else { panic!("its files are there: {found:?}") };
        assert_eq!(generation, first.generation);
    }
    let second = EnvironmentSpec { generation: first.generation.next(), ..first.clone() };
    // A life that cannot be made costs no files.
    let nowhere = EnvironmentSpec { base: "no-such-base".to_owned(), ..second.clone() };
    let made = soon(driver.remake(nowhere)).await;
    assert!(matches!(made, Err(EnvironmentError::UnknownBase { .. })), "{:?}", made.err());
    let env = soon(driver.remake(second.clone())).await.expect("it is made again");
    assert_eq!((env.id(), env.generation()), (&first.id, second.generation));
    assert_eq!(read(env.as_ref(), KEPT, 0, None).await.unwrap(), b"before");
    write(env.as_ref(), KEPT, b"after").await;
    let execs = soon(connect(env.as_ref()).await.execs()).await.unwrap();
    assert!(execs.iter().all(|exec| exec.ended.is_some()), "no process survived: {execs:?}");
    adopted_in_its_life_only(driver, &second, first.generation).await;
    soon(driver.discard(&first.id)).await.unwrap();
    assert!(!soon(driver.known()).await.unwrap().contains(&first.id), "nothing of either life is left");
    let made = soon(driver.remake(EnvironmentSpec { generation: second.generation.next(), ..second })).await;
    assert!(matches!(made, Err(EnvironmentError::Gone)), "{:?}", made.err());
}

/// The life before is no more: neither is it adopted, nor is anything made over what lives.
async fn adopted_in_its_life_only(driver: &dyn Driver, spec: &EnvironmentSpec, before: Generation) {
    let adopt = Adopt::new(spec.id.clone(), spec.generation);
    let found = soon(driver.adopt(adopt.clone())).await.unwrap();
    assert!(matches!(found, Adopted::Alive(_)), "{found:?}");
    let found = soon(driver.adopt(Adopt { generation: before, ..adopt })).await.unwrap();
    assert!(matches!(found, Adopted::Lost { .. }), "{found:?}");
    for generation in [spec.generation, spec.generation.next()] {
        let made = soon(driver.remake(EnvironmentSpec { generation, ..spec.clone() })).await;
        assert!(matches!(made, Err(EnvironmentError::Gone)), "{:?}", made.err());
    }
}
