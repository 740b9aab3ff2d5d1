//! A password from a file like `~/.pgpass`.

use secrecy::SecretString;

/// The password of the first line that fits; `*` fits anything. A line that is none is passed over, as libpq does it.
pub(super) fn find(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<SecretString> {
    let port = port.to_string();
    // Sockets are called localhost there.
    let host = if host.starts_with('/') { "localhost" } else { host };
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [in_host, in_port, in_database, in_user, password] = fields.as_slice() else { return None };
        let fits = |field: &str, wanted: &str| field == "*" || field == wanted;
        (fits(in_host, host) && fits(in_port, &port) && fits(in_database, database) && fits(in_user, user))
            .then(|| SecretString::from(password.as_str()))
    })
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut().into_iter().for_each(|field| field.extend(chars.next())),
            other => fields.last_mut().into_iter().for_each(|field| field.push(other)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let file =
            "# comment\nother:5432:x:u:no\nnonsense\nh\\:1:*:*:u:a\\:b\\\\c:d\nlocalhost:1:*:u:socket\n*:*:*:*:last\n";
        let find =
            |host, port| super::find(file, host, port, "x", "u").map(|password| password.expose_secret().to_owned());
        assert_eq!(find("h:1", 5432).as_deref(), Some("a:b\\c:d"));
        assert_eq!(find("/tmp", 1).as_deref(), Some("socket"));
        assert_eq!(find("h", 2).as_deref(), Some("last"));
        assert_eq!(super::find("h:1:x:u:p", "h", 2, "x", "u").map(|_| ()), None);
    }
}
