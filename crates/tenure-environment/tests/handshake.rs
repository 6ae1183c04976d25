//! Who is let in: the handshake against impostors.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod support;

use support::*;
use tenure_environment::agent::Client;
use tenure_environment::{AgentError, EnvironmentId, Generation};
use tenure_protocol::*;

/// An agent that answers the hello with what `answer` makes of it; the handshake's outcome.
async fn meet(answer: impl FnOnce(&Hello) -> Vec<u8>) -> Result<Client, AgentError> {
    let (transport, mut agent) = pair();
    let act = async {
        let hello = agent.hello().await;
        agent.raw(&answer(&hello)).await;
        if agent.frame().await.is_some() {
            agent.say(&Reply::Welcome).await;
        }
    };
    tokio::join!(shake(transport), act).0
}

/// ID-4
#[tokio::test]
async fn the_right_agent_is_let_in_and_its_client_carries_the_generation() {
    let client = meet(|hello| encoded(&challenge(hello, &KEY, Side::Agent, &id(), 1))).await.unwrap();
    assert_eq!(client.generation(), Generation::first());
    assert!(client.is_usable());
}

/// ID-4
#[tokio::test]
async fn an_agent_with_another_key_is_not_the_environments() {
    let met = meet(|hello| encoded(&challenge(hello, &Key([8; 32]), Side::Agent, &id(), 1))).await;
    assert!(matches!(met, Err(AgentError::WrongProof)), "{met:?}");
}

/// ID-4
#[tokio::test]
async fn another_environment_is_not_this_one_even_with_the_same_key() {
    let other: EnvironmentId = "env_ffffffffffffffff".parse().unwrap();
    let met = meet(|hello| encoded(&challenge(hello, &KEY, Side::Agent, &other, 1))).await;
    assert!(matches!(met, Err(AgentError::WrongProof)), "{met:?}");
}

/// ID-4
#[tokio::test]
async fn another_generation_is_refused_and_named() {
    let met = meet(|hello| encoded(&challenge(hello, &KEY, Side::Agent, &id(), 2))).await;
    assert!(
        matches!(met, Err(AgentError::WrongGeneration { expected: Generation(1), found: Generation(2) })),
        "{met:?}"
    );
}

/// ID-4
#[tokio::test]
async fn a_generation_that_the_proof_does_not_cover_is_a_wrong_proof() {
    let met =
        meet(|hello| encoded(&Challenge { generation: 2, ..challenge(hello, &KEY, Side::Agent, &id(), 1) })).await;
    assert!(matches!(met, Err(AgentError::WrongProof)), "{met:?}");
}

/// ID-4
#[tokio::test]
async fn a_replayed_proof_is_a_wrong_proof() {
    let mut recorded = Vec::new();
    let first = meet(|hello| {
        recorded = encoded(&challenge(hello, &KEY, Side::Agent, &id(), 1));
        recorded.clone()
    });
    first.await.unwrap();
    let met = meet(|_| recorded).await;
    assert!(matches!(met, Err(AgentError::WrongProof)), "{met:?}");
}

/// ID-4
#[tokio::test]
async fn a_proof_of_the_managers_side_is_a_wrong_proof() {
    let met = meet(|hello| encoded(&challenge(hello, &KEY, Side::Manager, &id(), 1))).await;
    assert!(matches!(met, Err(AgentError::WrongProof)), "{met:?}");
}

/// EN-1
#[tokio::test]
async fn a_version_that_is_not_spoken_here_is_refused() {
    let met = meet(|hello| encoded(&Challenge { version: 2, ..challenge(hello, &KEY, Side::Agent, &id(), 1) })).await;
    assert!(matches!(met, Err(AgentError::Version(2))), "{met:?}");
}

/// EN-1
#[tokio::test]
async fn an_agent_that_refuses_to_talk_says_why() {
    let met = meet(|_| encoded(&failed(FailureCode::Limit))).await;
    assert!(matches!(met, Err(AgentError::Failed { code: FailureCode::Limit, .. })), "{met:?}");
}

/// EN-1
#[tokio::test]
async fn an_agent_that_closes_or_speaks_before_it_is_asked_is_not_let_in() {
    let met = meet(|hello| {
        let mut wire = encoded(&challenge(hello, &KEY, Side::Agent, &id(), 1));
        wire.extend(encoded(&Reply::Welcome));
        wire
    });
    assert!(matches!(met.await, Err(AgentError::Protocol(_))));
    let (transport, agent) = pair();
    drop(agent);
    assert!(matches!(shake(transport).await, Err(AgentError::Closed | AgentError::Io(_))));
}

/// EN-1
#[tokio::test]
async fn a_pooled_agent_is_bound_once_and_the_client_goes_on_in_its_generation() {
    let (transport, mut agent) = pair();
    let (key, environment) = (KEY, id());
    let manager = async {
        let mut client = Client::handshake(transport, &key, &environment, Generation::UNBOUND).await.unwrap();
        client.bind(&id(), Generation::first(), Some(5), Default::default()).await.unwrap();
        assert_eq!(client.generation(), Generation::first());
        let again = client.bind(&id(), Generation(2), None, Default::default()).await;
        assert!(matches!(again, Err(AgentError::Failed { code: FailureCode::OutOfTurn, .. })), "{again:?}");
        assert_eq!(client.generation(), Generation::first());
    };
    let inside = async {
        let hello = agent.hello().await;
        agent.say(&challenge(&hello, &KEY, Side::Agent, &id(), 0)).await;
        agent.frame().await.unwrap();
        agent.say(&Reply::Welcome).await;
        let bind = Request::Bind {
            environment: Some(id().to_string()),
            generation: 1,
            deadline_boot_ms: Some(5),
            env: Default::default(),
        };
        assert_eq!(agent.request().await, bind);
        agent.say(&Reply::Done).await;
        agent.request().await;
        agent.say(&failed(FailureCode::OutOfTurn)).await;
    };
    tokio::join!(manager, inside);
}
