//! Groups of the machine, as `/etc/group` has them (group(5)); other directories are not asked.

use std::io;

/// The number of a group: itself if it is one already.
///
/// # Errors
/// There is no such group, or the file can't be read.
pub(super) fn id(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let file = std::fs::read_to_string("/etc/group")?;
    find(&file, name).ok_or_else(|| {
        let text = format!("there is no group \"{name}\"");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

fn find(file: &str, name: &str) -> Option<u32> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_number() {
        let file = "root:x:0:\nadm:x:4:syslog,me\n# adm2:x:5:\nbroken:x\n";
        assert_eq!(find(file, "adm"), Some(4));
        assert_eq!(find(file, "root"), Some(0));
        for none in ["ad", "adm2", "broken", "", "me"] {
            assert_eq!(find(file, none), None, "{none}");
        }
        assert_eq!(id("4711").unwrap(), 4711);
        let error = id("no such group").unwrap_err();
        assert_eq!(error.to_string(), "there is no group \"no such group\"");
    }
}
