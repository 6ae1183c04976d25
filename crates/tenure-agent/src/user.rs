//! Users and groups as the environment's own files name them. The tenant may have written these files: they are bounded and only looked at.

use crate::failure::Failure;
use crate::path;
use crate::spawn::Identity;
use tenure_protocol::{FailureCode, User};

const FILE_MAX: usize = 1024 * 1024;
const GROUPS_MAX: usize = 64;

/// Looks a user up, by name or by number. Rights must be taken on already.
pub fn find(wanted: &str, default: &User) -> Result<User, Failure> {
    let passwd = match path::read_small("/etc/passwd", FILE_MAX) {
        Ok(content) => content,
        Err(failure) if failure.code == FailureCode::NotFound => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let passwd = String::from_utf8_lossy(&passwd);
    find_in(&passwd, wanted, default)
        .ok_or_else(|| Failure::new(FailureCode::NoSuchUser, format!("no user {wanted} in /etc/passwd")))
}

fn find_in(passwd: &str, wanted: &str, default: &User) -> Option<User> {
    let number = wanted.parse::<u32>().ok().filter(|uid| *uid != u32::MAX);
    let listed = passwd.lines().filter_map(parse_user);
    match number {
        Some(uid) if uid == default.uid => Some(default.clone()),
        Some(uid) => listed
            .into_iter()
            .find(|user| user.uid == uid)
            .or_else(|| Some(User { uid, gid: default.gid, name: uid.to_string(), home: "/".into() })),
        None => listed
            .into_iter()
            .find(|user| user.name == wanted)
            .or_else(|| (wanted == default.name).then(|| default.clone())),
    }
}

fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (_comment, home) = (fields.next()?, fields.next()?);
    let usable = uid != u32::MAX && gid != u32::MAX && !name.contains('\0') && !home.contains('\0');
    let home = if home.is_empty() { "/" } else { home };
    usable.then(|| User { uid, gid, name: name.into(), home: home.into() })
}

/// The user's further groups; none where the file is missing or too long.
pub fn identity(user: &User) -> Identity {
    let content = path::read_small("/etc/group", FILE_MAX).unwrap_or_default();
    let groups = groups_in(&String::from_utf8_lossy(&content), &user.name);
    Identity { uid: user.uid, gid: user.gid, groups }
}

fn groups_in(group: &str, name: &str) -> Vec<u32> {
    let member_of = |line: &str| {
        let mut fields = line.split(':');
        let (gid, members) = (fields.nth(2)?.parse().ok()?, fields.next()?);
        (gid != u32::MAX && members.split(',').any(|member| member == name)).then_some(gid)
    };
    group.lines().filter_map(member_of).take(GROUPS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nnan:x:one:1::/:\nann:x:1001:1002::/home/ann:/bin/sh\nmax:x:4294967295:1::/:\n";

    fn default() -> User {
        User { uid: 1000, gid: 1000, name: "user".into(), home: "/home/user".into() }
    }

    fn check(wanted: &str, expected: Option<(u32, u32, &str)>) {
        let found = find_in(PASSWD, wanted, &default());
        assert_eq!(found.as_ref().map(|user| (user.uid, user.gid, user.home.as_str())), expected, "{wanted}");
    }

    #[test]
    fn a_user_is_found_by_name_or_by_number_and_broken_lines_are_passed_over() {
        check("ann", Some((1001, 1002, "/home/ann")));
        check("1001", Some((1001, 1002, "/home/ann")));
        check("1000", Some((1000, 1000, "/home/user")));
        check("user", Some((1000, 1000, "/home/user")));
        check("7", Some((7, 1000, "/")));
        check("nan", None);
        check("max", None);
        check("4294967295", None);
        check("nobody-here", None);
    }

    #[test]
    fn groups_are_those_that_list_the_user() {
        let group = "a:x:1:ann,bob\nb:x:2:\nc:x:3:ann\nbad:x:no:ann\nannex:x:4:annex\n";
        assert_eq!(groups_in(group, "ann"), [1, 3]);
        assert_eq!(groups_in(group, "nobody"), [] as [u32; 0]);
    }
}
