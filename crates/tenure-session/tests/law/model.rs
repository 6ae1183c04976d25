//! A session retold in a few numbers, without any word of the law: what the simulation compares the law with.

/// A session of the model: every instant is a plain number.
#[derive(Debug, Clone)]
pub struct Model {
    pub state: &'static str,
    pub paused_from: &'static str,
    pub dies_at: i64,
    pub idle: Option<i64>,
    /// Token and expiry.
    pub lease: Option<(u64, i64)>,
    pub active: i64,
    pub work: u32,
    /// Nobody knows what runs.
    pub unasked: bool,
    pub over: Option<(&'static str, i64)>,
    pub deleted: bool,
}

/// What the model is asked to do: an operation, the token that comes along, where to.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub operation: &'static str,
    pub token: Option<u64>,
    pub to: &'static str,
}

impl Model {
    /// The limits that stand, in the order in which they count.
    fn limits(&self) -> Vec<(&'static str, i64)> {
        let mut limits = vec![("max_lifetime", self.dies_at)];
        let clock_runs = ["ready", "running"].contains(&self.state) && self.work == 0 && !self.unasked;
        if let (true, Some(idle)) = (clock_runs, self.idle) {
            limits.push(("idle_timeout", self.active + idle));
        }
        if let Some((_, expiry)) = self.lease {
            limits.push(("lease_expired", expiry));
        }
        limits
    }

    /// The reason and instant for which it is over at `now`, recorded or not.
    pub fn is_over(&self, now: i64) -> Option<(&'static str, i64)> {
        self.over.or_else(|| self.limits().into_iter().find(|(_, at)| *at <= now))
    }

    /// The earliest end as things stand.
    pub fn deadline(&self) -> Option<i64> {
        if self.over.is_some() { None } else { self.limits().into_iter().map(|(_, at)| at).min() }
    }

    /// Answers a wish and does it.
    pub fn ask(&mut self, wish: Wish, now: i64) -> &'static str {
        if let (None, Some((reason, at))) = (self.over, self.is_over(now)) {
            self.finish("terminated", reason, at);
        }
        if self.over.is_some() {
            return self.afterwards(wish);
        }
        let fenced = ["exec_run", "file_write", "session_pause", "session_resume", "session_transition"];
        if let (Some((token, _)), true) = (self.lease, fenced.contains(&wish.operation))
            && wish.token != Some(token)
        {
            return "stale";
        }
        let answer = self.live(wish, now);
        let quiet = ["session_get", "preview_health", "session_terminate", "session_delete", "session_undelete"];
        if answer == "admit" && self.over.is_none() && !quiet.contains(&wish.operation) {
            self.active = self.active.max(now);
        }
        answer
    }

    fn live(&mut self, wish: Wish, now: i64) -> &'static str {
        let paused = self.state == "paused";
        let made = !["created", "initializing"].contains(&self.state);
        match wish.operation {
            "session_get" => "admit",
            "session_undelete" => "already",
            "session_terminate" | "session_delete" | "session_transition" => self.moved(wish, now),
            _ if !made => "not_ready",
            "exec_run" | "file_read" | "file_write" | "preview_health" if paused => "paused",
            "exec_run" => {
                self.state = "running";
                self.work += 1;
                "admit"
            }
            "file_read" | "file_write" | "preview_health" => "admit",
            "session_pause" | "session_resume" if paused == (wish.operation == "session_pause") => "already",
            "session_pause" => self.pause(),
            "session_resume" => self.resume(),
            other => panic!("the model does not know {other}"),
        }
    }

    fn moved(&mut self, wish: Wish, now: i64) -> &'static str {
        let paused = self.state == "paused";
        match wish.operation {
            "session_terminate" => self.finish("terminated", "user_request", now),
            "session_delete" => {
                self.deleted = true;
                self.finish("terminated", "deleted", now)
            }
            "session_transition" if wish.to == self.state => "already",
            _ => match wish.to {
                "terminated" => self.finish("terminated", "user_request", now),
                "paused" if ["ready", "running"].contains(&self.state) => self.pause(),
                to if paused && to == self.paused_from => self.resume(),
                _ => "illegal",
            },
        }
    }

    /// Its making goes on; once it is ready, that counts as activity.
    pub fn makes(&mut self, now: i64) {
        match self.state {
            "created" => self.state = "initializing",
            "initializing" => {
                self.state = "ready";
                self.active = self.active.max(now);
            }
            _ => {}
        }
    }

    fn afterwards(&mut self, wish: Wish) -> &'static str {
        match wish.operation {
            "session_get" => "admit",
            "session_terminate" => "already",
            "session_delete" | "session_undelete" if self.deleted == (wish.operation == "session_delete") => "already",
            "session_delete" | "session_undelete" => {
                self.deleted = !self.deleted;
                "admit"
            }
            "session_transition" if wish.to == self.state => "already",
            "session_transition" => "illegal",
            _ => "gone",
        }
    }

    fn pause(&mut self) -> &'static str {
        self.paused_from = self.state;
        self.state = "paused";
        "admit"
    }

    fn resume(&mut self) -> &'static str {
        self.state = self.paused_from;
        "admit"
    }

    /// The end, for this reason.
    pub fn finish(&mut self, state: &'static str, reason: &'static str, at: i64) -> &'static str {
        self.state = state;
        self.over = Some((reason, at));
        "admit"
    }

    /// The last work in progress ends.
    pub fn work_ends(&mut self, now: i64) {
        if self.work > 0 {
            self.work -= 1;
            self.active = self.active.max(now);
        }
    }
}
