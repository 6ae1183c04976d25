//! The agent's side of the handshake. Whatever is not exactly what is due closes the connection; nothing says why.

use crate::connection::{Connection, Phase};
use crate::request::Task;
use tenure_protocol::{Boot, Challenge, Frame, Hello, Nonce, Prove, Reply, Side, Transcript, choose_version};

/// Takes one frame before the manager has proven itself; `None` closes the connection.
pub fn step(connection: &mut Connection, frame: &Frame, boot: &Boot, generation: u64) -> Option<()> {
    match connection.phase {
        Phase::Hello => {
            let hello: Hello = frame.message().ok()?;
            let version = choose_version(hello.version_min..=hello.version_max)?;
            let agent = fresh_nonce()?;
            let transcript = Transcript {
                version,
                manager: &hello.nonce,
                agent: &agent,
                environment: &boot.environment,
                generation,
            };
            let challenge = Challenge {
                version,
                environment: boot.environment.clone(),
                generation,
                nonce: agent,
                proof: transcript.prove(&boot.key, Side::Agent),
            };
            connection.out.message(&challenge).ok()?;
            connection.phase = Phase::Prove { version, manager: hello.nonce, agent, generation };
            Some(())
        }
        Phase::Prove { version, manager, agent, generation } => {
            let prove: Prove = frame.message().ok()?;
            let transcript =
                Transcript { version, manager: &manager, agent: &agent, environment: &boot.environment, generation };
            transcript.verify(&boot.key, Side::Manager, &prove.proof).then_some(())?;
            connection.out.reply(&Reply::Welcome);
            connection.phase = Phase::Serving(Box::new(Task::Idle));
            Some(())
        }
        Phase::Serving(_) => None,
    }
}

fn fresh_nonce() -> Option<Nonce> {
    let mut bytes = [0; 32];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
    (filled == bytes.len()).then_some(Nonce(bytes))
}
