//! Users of this machine, as they are written: by number, or by name.
//!
//! Names are looked up in `/etc/passwd` alone. Other directories (LDAP, systemd's) would need the
//! C library, and an answer that may change or fail later; their users are written by number.

use super::settings::Raw;
use super::shape::{Problem, Shape, check_text, wrong_type};

/// Where names are looked up.
const FILE: &str = "/etc/passwd";
/// Most bytes of a name (`LOGIN_NAME_MAX`).
const NAME_BYTES: usize = 256;

/// Several users; cut at commas where there are no lists.
pub(super) struct UserList;

/// A user, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum User {
    Number(u32),
    Name(String),
}

impl Shape for UserList {
    type Out = Vec<User>;

    fn read(&self, raw: &Raw) -> Result<Vec<User>, Problem> {
        let items = match raw {
            Raw::List(items) | Raw::ListWithNumbers(items) => items,
            other => return Err(wrong_type(other, "a list such as [1000, \"app\"]")),
        };
        if items.is_empty() {
            return Err(Problem::new(
                "the list is empty; name at least one user, or leave the key out to let \
                 everybody in",
            ));
        }
        items.iter().map(|item| read_user(item)).collect()
    }

    fn range(&self) -> String {
        "list of numbers (0 to 4294967294) or names".to_owned()
    }

    fn is_list(&self) -> bool {
        true
    }
}

fn read_user(text: &str) -> Result<User, Problem> {
    check_text(text, NAME_BYTES)?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        // The last number means "no change" to chown(2) and belongs to nobody.
        Ok(number) if number < u32::MAX => Ok(User::Number(number)),
        _ if is_number || text.starts_with('-') => Err(Problem::new(format!(
            "\"{text}\" is not a user's number; allowed: 0 to 4294967294"
        ))),
        _ => Ok(User::Name(text.to_owned())),
    }
}

/// The numbers of users, sorted, each once.
pub(super) fn numbers(users: &[User]) -> Result<Vec<u32>, Problem> {
    numbers_by(users, FILE)
}

pub(super) fn numbers_by(users: &[User], file: &str) -> Result<Vec<u32>, Problem> {
    let has_names = users.iter().any(|user| matches!(user, User::Name(_)));
    let passwd = match has_names.then(|| std::fs::read_to_string(file)) {
        None => String::new(),
        Some(Ok(text)) => text,
        Some(Err(error)) => {
            return Err(Problem::new(format!(
                "{file} can't be read ({error}); write users by number"
            )));
        }
    };
    numbers_in(users, &passwd)
}

fn numbers_in(users: &[User], passwd: &str) -> Result<Vec<u32>, Problem> {
    let number = |user: &User| match user {
        User::Number(number) => Ok(*number),
        User::Name(name) => find(name, passwd).ok_or_else(|| {
            Problem::new(format!(
                "{FILE} has no user \"{name}\"; write the number that \"id -u {name}\" prints"
            ))
        }),
    };
    let mut numbers = users.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// passwd(5): name, password, number.
fn find(name: &str, passwd: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let number = (fields.next() == Some(name)).then(|| fields.nth(1))??;
        number.parse().ok().filter(|number| *number < u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# app:x:7:7::/:\n+nis\nshort:x\n\
                          app:x:1000:1000::/:/bin/false\nbroken:x:many:1::/:\n";

    fn read(items: &[&str]) -> Result<Vec<u32>, String> {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        let users = UserList.read(&Raw::List(items));
        users
            .and_then(|users| numbers_in(&users, PASSWD))
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn numbers_and_names_become_numbers() {
        assert_eq!(read(&["0"]), Ok(vec![0]));
        assert_eq!(read(&["app", "1000", "33", "root"]), Ok(vec![0, 33, 1000]));
        assert_eq!(read(&["4294967294"]), Ok(vec![u32::MAX - 1]));
    }

    #[test]
    fn whoever_is_not_known_is_an_error() {
        for (item, wanted) in [
            ("nobody-here", "no user \"nobody-here\"; write the number"),
            ("broken", "no user \"broken\""),
            ("short", "no user \"short\""),
            ("4294967295", "not a user's number"),
            ("99999999999", "not a user's number"),
            ("-1", "not a user's number"),
            ("", "is empty"),
        ] {
            let problem = read(&[item]).unwrap_err();
            assert!(problem.contains(wanted), "{item}: {problem}");
        }
        assert!(read(&[]).unwrap_err().contains("the list is empty"));
    }
}
