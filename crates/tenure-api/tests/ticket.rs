//! Tickets are spent once and in time; tokens of previews end with what they came from.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use tenure_api::ticket::{Grant, NotIssued, Purpose, TICKET_TTL_MS, TOKEN_TTL_MS, Tickets, is_ticket, is_token};
use tenure_session::{Caller, LeaseToken, Role, SessionId, Timestamp};

fn now() -> Timestamp {
    Timestamp::from_ms(1_800_000_000_000)
}

fn grant(user: &str, purpose: Purpose) -> Grant {
    let caller = Caller { user: user.parse().unwrap(), role: Role::User, credential: format!("key_of_{user}") };
    Grant { caller: Arc::new(caller), credential_expires_at: None, session: session(1), purpose }
}

fn session(n: u8) -> SessionId {
    SessionId::new(now(), [n; 4])
}

const PREVIEW: Purpose = Purpose::Preview { port: 8080 };

/// AU-2
#[test]
fn a_ticket_is_spent_once_and_says_all_that_it_was_made_for() {
    let tickets = Tickets::default();
    let terminal = grant("alice", Purpose::Terminal { lease: Some(LeaseToken(7)) });
    let issued = tickets.issue(terminal.clone(), now()).unwrap();
    assert!(is_ticket(&issued.secret) && !is_token(&issued.secret));
    assert_eq!(issued.expires_at, now().plus_ms(TICKET_TTL_MS));
    assert_eq!(tickets.spend(&issued.secret, now()), Some(terminal));
    assert_eq!(tickets.spend(&issued.secret, now()), None);
}

/// AU-2
#[test]
fn a_ticket_is_worth_nothing_after_30_s() {
    let tickets = Tickets::default();
    let make = || tickets.issue(grant("alice", Purpose::Events), now()).unwrap().secret;
    assert!(tickets.spend(&make(), now().plus_ms(29_999)).is_some());
    assert!(tickets.spend(&make(), now().plus_ms(30_000)).is_none());
}

/// AU-2
#[test]
fn a_ticket_ends_no_later_than_the_credential_behind_it() {
    let tickets = Tickets::default();
    let mut short = grant("alice", PREVIEW);
    short.credential_expires_at = Some(now().plus_ms(10));
    let ticket = tickets.issue(short.clone(), now()).unwrap();
    assert_eq!(ticket.expires_at, now().plus_ms(10));
    let token = tickets.exchange(short, now()).unwrap();
    assert_eq!(token.expires_at, now().plus_ms(10));
    assert!(tickets.token(&token.secret, now().plus_ms(9)).is_some());
    assert!(tickets.token(&token.secret, now().plus_ms(10)).is_none());
    assert!(tickets.spend(&ticket.secret, now().plus_ms(10)).is_none());
}

/// AU-2
#[test]
fn a_token_is_used_as_often_as_wanted_for_12_h_and_is_no_ticket() {
    let tickets = Tickets::default();
    let token = tickets.exchange(grant("alice", PREVIEW), now()).unwrap();
    assert!(is_token(&token.secret) && !is_ticket(&token.secret));
    for after in [0, 1, TOKEN_TTL_MS - 1] {
        assert_eq!(tickets.token(&token.secret, now().plus_ms(after)).unwrap().0, grant("alice", PREVIEW));
    }
    assert_eq!(tickets.token(&token.secret, now().plus_ms(TOKEN_TTL_MS)), None);
    assert_eq!(tickets.spend(&token.secret, now()), None);
}

/// AU-2
#[test]
fn whatever_nobody_made_is_worth_nothing() {
    let tickets = Tickets::default();
    let ticket = tickets.issue(grant("alice", PREVIEW), now()).unwrap().secret;
    let long = "x".repeat(100_000);
    for text in ["", "tkt_", &ticket[..40], &format!("{ticket} "), &ticket.to_lowercase(), &long] {
        assert_eq!(tickets.spend(text, now()), None);
        assert_eq!(tickets.token(text, now()), None);
    }
    assert_eq!(tickets.token(&ticket, now()), None);
    assert!(tickets.spend(&ticket, now()).is_some());
}

/// AU-2
#[test]
fn what_is_taken_back_is_worth_nothing_and_the_rest_stays() {
    let tickets = Tickets::default();
    let mut elsewhere = grant("bob", PREVIEW);
    elsewhere.session = session(2);
    let pair = |grant: Grant| {
        (tickets.issue(grant.clone(), now()).unwrap().secret, tickets.exchange(grant, now()).unwrap().secret)
    };
    let (alices, bobs) = (pair(grant("alice", PREVIEW)), pair(elsewhere));
    tickets.revoke_credential("key_of_alice");
    assert!(tickets.spend(&alices.0, now()).is_none() && tickets.token(&alices.1, now()).is_none());
    tickets.revoke_preview(&session(2), 8081);
    tickets.revoke_session(&session(1));
    assert!(tickets.token(&bobs.1, now()).is_some());
    tickets.revoke_preview(&session(2), 8080);
    assert!(tickets.spend(&bobs.0, now()).is_none() && tickets.token(&bobs.1, now()).is_none());
}

/// AU-2
#[test]
fn a_user_has_only_so_many_tickets_waiting_and_harms_nobody_else() {
    let tickets = Tickets::default();
    let mut last = None;
    for _ in 0..64 {
        last = Some(tickets.issue(grant("alice", Purpose::Events), now()).unwrap().secret);
    }
    assert_eq!(tickets.issue(grant("alice", Purpose::Events), now()), Err(NotIssued::TooManyOfUser));
    assert!(tickets.issue(grant("bob", Purpose::Events), now()).is_ok());
    assert!(tickets.spend(&last.unwrap(), now()).is_some());
    assert!(tickets.issue(grant("alice", Purpose::Events), now()).is_ok());
    assert!(tickets.issue(grant("alice", Purpose::Events), now().plus_ms(TICKET_TTL_MS)).is_ok());
}

/// AU-2
#[test]
fn a_users_oldest_token_makes_room_for_a_new_one() {
    let tickets = Tickets::default();
    let make = |user: &str| tickets.exchange(grant(user, PREVIEW), now()).unwrap().secret;
    let (bobs, first, second) = (make("bob"), make("alice"), make("alice"));
    for _ in 0..255 {
        make("alice");
    }
    assert!(tickets.token(&first, now()).is_none());
    assert!(tickets.token(&second, now()).is_some());
    assert!(tickets.token(&bobs, now()).is_some());
}

/// AU-2
#[test]
fn all_users_together_have_only_so_many_tickets_waiting() {
    let tickets = Tickets::default();
    for n in 0..16_384 {
        tickets.issue(grant(&format!("user{}", n / 64), Purpose::Events), now()).unwrap();
    }
    assert_eq!(tickets.issue(grant("one-more", Purpose::Events), now()), Err(NotIssued::TooMany));
    assert!(tickets.issue(grant("one-more", Purpose::Events), now().plus_ms(TICKET_TTL_MS)).is_ok());
}
