//! A lease retold in a few numbers, without any word of the law: what lives are compared with.

/// Who holds it: token, TTL, interval, expiry, last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub token: u64,
    pub ttl: i64,
    pub interval: i64,
    pub expiry: i64,
    pub beat: Option<i64>,
}

/// A session of the model.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub dies_at: i64,
    pub holder: Option<Holder>,
    pub given: u64,
    pub over: bool,
}

impl Model {
    fn look(&mut self, now: i64) -> bool {
        self.over |= now >= self.dies_at || self.holder.is_some_and(|holder| now >= holder.expiry);
        self.over
    }

    pub fn take(&mut self, ttl: i64, interval: i64, takeover: bool, now: i64) -> &'static str {
        if self.look(now) {
            return "over";
        }
        if self.holder.is_some() && !takeover {
            return "held";
        }
        self.given += 1;
        let expiry = if now + ttl > self.dies_at { self.dies_at } else { now + ttl };
        self.holder = Some(Holder { token: self.given, ttl, interval, expiry, beat: None });
        "taken"
    }

    pub fn renew(&mut self, token: u64, now: i64) -> &'static str {
        if self.look(now) {
            return "over";
        }
        let Some(holder) = &mut self.holder else { return "no lease" };
        if token != holder.token {
            return "stale";
        }
        if let Some(beat) = holder.beat
            && now < beat + holder.interval
        {
            return "fresh";
        }
        let promised = if now + holder.ttl > self.dies_at { self.dies_at } else { now + holder.ttl };
        if promised > holder.expiry {
            holder.expiry = promised;
        }
        holder.beat = Some(now);
        "renewed"
    }

    pub fn release(&mut self, token: u64, now: i64) -> &'static str {
        if self.look(now) {
            return "over";
        }
        match self.holder {
            None => "no lease",
            Some(holder) if holder.token != token => "stale",
            Some(_) => {
                self.holder = None;
                "released"
            }
        }
    }

    pub fn through(&mut self, token: u64, now: i64) -> bool {
        !self.look(now) && self.holder.is_none_or(|holder| holder.token == token)
    }

    /// Nobody served anything from then until now.
    pub fn down(&mut self, from: i64, until: i64) {
        if let Some(holder) = &mut self.holder
            && !self.over
            && from < holder.expiry
            && holder.expiry <= until
        {
            let promised = if until + holder.ttl > self.dies_at { self.dies_at } else { until + holder.ttl };
            holder.expiry = holder.expiry.max(promised);
        }
    }
}
