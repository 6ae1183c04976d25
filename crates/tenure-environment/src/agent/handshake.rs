//! Both ends prove that they hold the environment's key.

use crate::agent::connection::{FrameReader, FrameWriter, out_of_turn, reply_of};
use crate::error::AgentError;
use crate::id::{EnvironmentId, Generation};
use tenure_protocol::{Challenge, Hello, Key, Nonce, Prove, Reply, Side, Transcript, VERSION_MAX, VERSION_MIN};

fn random() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// A new key for a new environment.
pub fn new_key() -> std::io::Result<Key> {
    Ok(Key(random()?))
}

/// Says hello, checks the agent's proof, and gives the manager's.
pub(super) async fn shake(
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
    key: &Key,
    environment: &EnvironmentId,
    expected: Generation,
) -> Result<(), AgentError> {
    let nonce = Nonce(random()?);
    writer.message(&Hello { version_min: VERSION_MIN, version_max: VERSION_MAX, nonce }).await?;
    let frame = reader.frame().await?;
    // An agent that does not want to talk answers with a failure instead of a challenge.
    let Ok(challenge) = frame.message::<Challenge>() else {
        reply_of(&frame)?;
        return out_of_turn();
    };
    if !(VERSION_MIN..=VERSION_MAX).contains(&challenge.version) {
        return Err(AgentError::Version(challenge.version));
    }
    let transcript = Transcript {
        version: challenge.version,
        manager: &nonce,
        agent: &challenge.nonce,
        environment: environment.as_str(),
        generation: challenge.generation,
    };
    if challenge.environment != environment.as_str() || !transcript.verify(key, Side::Agent, &challenge.proof) {
        return Err(AgentError::WrongProof);
    }
    // Checked after the proof, so that only the environment itself can say that it lives in another generation.
    if challenge.generation != expected.0 {
        return Err(AgentError::WrongGeneration { expected, found: Generation(challenge.generation) });
    }
    reader.quiet().await?;
    writer.message(&Prove { proof: transcript.prove(key, Side::Manager) }).await?;
    match reader.reply().await? {
        Reply::Welcome => Ok(()),
        _ => out_of_turn(),
    }
}
