//! Where tickets are made, for what cannot carry a header (AU-2).

use crate::asked::{Answered, Asked, Empty, ok};
use crate::ticket::{Grant, NotIssued, Purpose};
use crate::wire::ticket::{Ticket, TicketRequest};
use crate::wire::words::TicketUse;
use tenure_engine::{Code, EngineError};
use tenure_session::LeaseToken;

pub(crate) async fn create(mut asked: Asked) -> Answered {
    let sent = asked.json::<TicketRequest>(Empty::Refused).await?;
    let request = sent.body?;
    let permit = asked.door.engine.ticket_admit(&asked.call()?, &request.session_id).await?;
    let grant = Grant {
        caller: asked.credential.caller.clone(),
        credential_expires_at: asked.credential.expires_at,
        session: permit.session().id.clone(),
        purpose: purpose(&request)?,
    };
    let issued = asked.door.tickets.issue(grant, asked.door.engine.now()).map_err(not_issued)?;
    ok(&Ticket { ticket: issued.secret, expires_at: issued.expires_at })
}

fn purpose(request: &TicketRequest) -> Result<Purpose, EngineError> {
    match (request.purpose, request.port) {
        (TicketUse::Terminal, _) => Ok(Purpose::Terminal { lease: request.lease_token.map(LeaseToken) }),
        (TicketUse::Events, _) => Ok(Purpose::Events),
        (TicketUse::Preview, Some(port)) if port >= 1024 => Ok(Purpose::Preview { port }),
        (TicketUse::Preview, Some(_)) => Err(EngineError::field("port", "must be 1024 to 65535")),
        (TicketUse::Preview, None) => {
            Err(EngineError::Invalid { missing: vec!["port".to_owned()], invalid: Vec::new() })
        }
    }
}

fn not_issued(why: NotIssued) -> EngineError {
    let what = why.to_string();
    match why {
        NotIssued::TooManyOfUser | NotIssued::TooMany => EngineError::Conflict { code: Code::RateLimited, what },
        NotIssued::NoRandom => EngineError::Unavailable { what: "no ticket can be made", chain: what },
    }
}
