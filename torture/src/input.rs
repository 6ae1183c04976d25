//! What programs in the background are fed, line by line: each line that was taken is printed once, in its order.

use crate::client::{Client, Stopped};
use crate::facts::{Certainty, Program};
use crate::http::Request;
use std::time::{Duration, Instant};

/// How long a program may take to print what it was fed.
const PRINTED_WITHIN: Duration = Duration::from_secs(5);
/// Lines that one program is fed at most.
const LINES_MAX: usize = 40;

impl Client {
    /// Feeds a program of this session one line, or ends its input.
    pub(crate) fn feed(&mut self, index: usize) -> Result<(), Stopped> {
        let hungry = |at: &usize| {
            let exec = &self.sessions[index].execs[*at];
            exec.program == Program::Repeats
                && exec.id.is_some()
                && exec.outcome.is_none()
                && exec.closed == Certainty::No
        };
        let hungry: Vec<usize> = (0..self.sessions[index].execs.len()).filter(hungry).collect();
        if hungry.is_empty() {
            return self.exec(index, false);
        }
        let at = self.random.pick(&hungry);
        let line = self.word("line");
        let exec = &mut self.sessions[index].execs[at];
        let end = exec.fed.len() >= LINES_MAX || self.random.percent(8);
        exec.fed.push((line.clone(), Certainty::Perhaps));
        if end {
            exec.closed = Certainty::Perhaps;
        }
        let exec = exec.id.clone().unwrap_or_default();
        let path = format!("/v1/sessions/{}/execs/{exec}/stdin?eof={end}", self.sessions[index].id);
        let answer = self.ask(&Request { body: format!("{line}\n").into_bytes(), ..Request::new("POST", path) })?;
        let exec = &mut self.sessions[index].execs[at];
        if answer.status != 204 {
            exec.fed.pop();
            if end {
                exec.closed = Certainty::No;
            }
            self.refused(index, "stdin", &answer);
            return Ok(());
        }
        exec.fed.last_mut().into_iter().for_each(|(_, certainty)| *certainty = Certainty::Yes);
        if end {
            exec.closed = Certainty::Yes;
        }
        self.acknowledged("stdin");
        Ok(())
    }

    /// What was fed was printed: each line once, in order.
    pub(crate) fn fed_check(&mut self, index: usize, at: usize) -> Result<(), Stopped> {
        let (session, exec) = (self.sessions[index].id.clone(), self.sessions[index].execs[at].clone());
        let Some(id) = &exec.id else { return Ok(()) };
        if exec.outcome.as_ref().is_some_and(|outcome| outcome.state == "failed") {
            return Ok(());
        }
        let until = Instant::now() + PRINTED_WITHIN;
        loop {
            let answer = self.ask(&Request::new("GET", format!("/v1/sessions/{session}/execs/{id}/output")))?;
            if answer.status != 200 {
                self.refused(index, "exec output", &answer);
                return Ok(());
            }
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let good = fits(&lines, &exec.fed) || self.may_be_cut(index);
            if good || Instant::now() > until {
                self.check(good, || format!("the output of {} is {text:?}; it was fed {:?}", exec.tag, exec.fed));
                // What was printed will not go away any more, and what was not will never come.
                let fed = &mut self.sessions[index].execs[at].fed;
                fed.retain_mut(|(line, certainty)| {
                    let there = lines.contains(&line.as_str());
                    *certainty = if there { Certainty::Yes } else { *certainty };
                    there || *certainty != Certainty::Perhaps
                });
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether these lines are what was fed: every certain one, and of the others any.
fn fits(lines: &[&str], fed: &[(String, Certainty)]) -> bool {
    let mut lines = lines.iter().peekable();
    for (line, certainty) in fed {
        if lines.next_if(|found| **found == line.as_str()).is_none() && *certainty == Certainty::Yes {
            return false;
        }
    }
    lines.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_broke_off_may_be_missing() {
        let fed = |certainties: &[Certainty]| -> Vec<(String, Certainty)> {
            ["a", "b", "c"].iter().zip(certainties).map(|(line, certainty)| ((*line).to_owned(), *certainty)).collect()
        };
        let unsure = fed(&[Certainty::Yes, Certainty::Perhaps, Certainty::Yes]);
        assert!(fits(&["a", "b", "c"], &unsure));
        assert!(fits(&["a", "c"], &unsure));
        assert!(!fits(&["a", "b"], &unsure));
        assert!(!fits(&["c", "a"], &unsure));
        assert!(!fits(&["a", "a", "b", "c"], &unsure));
    }
}
