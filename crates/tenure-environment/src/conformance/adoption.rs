//! What every driver promises of environments that are found again.

use super::{command, connect, soon, start};
use crate::adopt::{Adopt, Adopted};
use crate::driver::{Driver, Environment};
use crate::error::EnvironmentError;
use crate::id::EnvironmentId;

/// Tries every promise of this file on a living environment of this driver; it is gone afterwards.
pub async fn every_adoption(driver: &dyn Driver, env: &dyn Environment) {
    what_lives_is_adopted(driver, env).await;
    what_is_frozen_is_adopted_without_thawing_it(driver, env).await;
    another_generation_is_lost(driver, env).await;
    what_never_was_is_lost(driver).await;
    what_is_discarded_is_gone(driver, env).await;
}

async fn adopt(driver: &dyn Driver, adopt: Adopt) -> Adopted {
    soon(driver.adopt(adopt)).await.expect("the driver can find out")
}

fn stored(env: &dyn Environment) -> Adopt {
    Adopt::new(env.id().clone(), env.generation())
}

/// EN-10: it is the same one, and can be asked; adopting it again changes nothing.
pub async fn what_lives_is_adopted(driver: &dyn Driver, env: &dyn Environment) {
    let mut running = start(env, command(&["sleep", "1000"])).await.expect("sleep starts");
    for _ in 0..2 {
        let Adopted::Alive(adopted) = adopt(driver, stored(env)).await else { panic!("it lives") };
        assert_eq!((adopted.id(), adopted.generation()), (env.id(), env.generation()));
        let execs = soon(connect(adopted.as_ref()).await.execs()).await.unwrap();
        assert!(execs.iter().any(|exec| exec.ended.is_none()), "what ran runs on");
    }
    assert!(soon(driver.known()).await.unwrap().contains(env.id()));
    soon(running.sender.signal(9)).await.unwrap();
    soon(running.wait()).await.unwrap();
}

/// EN-10, LC-9
pub async fn what_is_frozen_is_adopted_without_thawing_it(driver: &dyn Driver, env: &dyn Environment) {
    soon(env.freeze()).await.unwrap();
    let Adopted::Frozen(adopted) = adopt(driver, stored(env)).await else { panic!("it stands frozen") };
    assert!(soon(adopted.observe()).await.unwrap().frozen);
    soon(adopted.thaw()).await.unwrap();
    soon(connect(env).await.ping()).await.expect("it goes on");
}

/// EN-10
pub async fn another_generation_is_lost(driver: &dyn Driver, env: &dyn Environment) {
    let other = Adopt { generation: env.generation().next(), ..stored(env) };
    let Adopted::Lost { evidence } = adopt(driver, other).await else { panic!("it is another life of it") };
    assert!(evidence.contains("generation"), "{evidence}");
    soon(connect(env).await.ping()).await.expect("the one that lives is left alone");
}

/// EN-10
pub async fn what_never_was_is_lost(driver: &dyn Driver) {
    let stranger = EnvironmentId::generate().unwrap();
    assert!(!soon(driver.known()).await.unwrap().contains(&stranger));
    let found = adopt(driver, Adopt::new(stranger.clone(), crate::Generation::first())).await;
    assert!(matches!(found, Adopted::Lost { .. }), "{found:?}");
    soon(driver.discard(&stranger)).await.expect("nothing is left of it already");
}

/// EN-10, TM-8
pub async fn what_is_discarded_is_gone(driver: &dyn Driver, env: &dyn Environment) {
    soon(driver.discard(env.id())).await.unwrap();
    soon(env.wait_end()).await;
    assert!(matches!(soon(env.connect()).await, Err(EnvironmentError::Gone)));
    assert!(!soon(driver.known()).await.unwrap().contains(env.id()));
    assert!(adopt(driver, stored(env)).await.environment().is_none());
    soon(driver.discard(env.id())).await.expect("discarding again changes nothing");
}
