//! Addresses in dependency files: which ones may stand there, and that no secret does.

/// Where git, pip and npm fetch from without asking anybody.
const SCHEMES: [&str; 5] = ["https", "http", "git+https", "git+http", "git+ssh"];

/// Parameters that hold a secret, if they hold anything.
const SECRET_PARAMETERS: [&str; 10] = [
    "token",
    "access_token",
    "private_token",
    "auth",
    "key",
    "api_key",
    "apikey",
    "password",
    "passwd",
    "secret",
];

/// Why an address cannot be taken: what is wrong, and what to write instead.
pub(crate) type Wrong = (String, String);

/// Checks an address that somebody is to fetch from. `${NAME}` may stand in it wherever a secret belongs.
pub(crate) fn check(address: &str) -> Result<(), Wrong> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Err((
            format!("`{}` is no address", crate::place::shown(address)),
            "write a whole address, such as `https://example.org/name-1.0.tar.gz`".to_owned(),
        ));
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "file" || scheme == "git+file" {
        return Err(local(address));
    }
    if !SCHEMES.contains(&scheme.as_str()) {
        return Err((
            format!("nothing is fetched over `{}`", crate::place::shown(&scheme)),
            format!("use one of {}", SCHEMES.join(", ")),
        ));
    }
    if let Some(odd) = address.chars().find(|&c| !may_stand(c)) {
        return Err((
            format!("the character `{}` may not stand in an address", odd.escape_default()),
            "write it percent-encoded, such as `%20` for a space".to_owned(),
        ));
    }
    variables(address)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.rsplit('@').next().is_none_or(str::is_empty) {
        return Err((
            format!("the address `{}` names no host", crate::place::shown(address)),
            "write it whole, with the host after `://`".to_owned(),
        ));
    }
    user(&scheme, authority)?;
    parameters(path)
}

/// What is on the machine of whoever wrote it: nothing that an image could be built from elsewhere.
pub(crate) fn local(what: &str) -> Wrong {
    (
        format!(
            "`{}` names a file or folder, which the image's build does not have",
            crate::place::shown(what)
        ),
        "publish the package, or name where its source is: `git+https://host/owner/name@commit`".to_owned(),
    )
}

fn may_stand(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%{}^".contains(c)
}

/// Braces stand for nothing but `${NAME}`, as pip and npm replace it.
fn variables(address: &str) -> Result<(), Wrong> {
    let mut rest = address;
    while let Some(at) = rest.find(['{', '}']) {
        let named = rest[at + 1..].split_once('}').filter(|(name, _)| {
            rest[..at].ends_with('$') && rest[at..].starts_with('{') && is_variable_name(name)
        });
        let Some((_, after)) = named else {
            return Err((
                "a brace stands in the address that belongs to no variable".to_owned(),
                "write variables as `${NAME}`, in capitals, digits and `_`".to_owned(),
            ));
        };
        rest = after;
    }
    Ok(())
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn is_variable(text: &str) -> bool {
    text.strip_prefix("${").and_then(|text| text.strip_suffix('}')).is_some_and(is_variable_name)
}

fn user(scheme: &str, authority: &str) -> Result<(), Wrong> {
    let Some((user, _)) = authority.rsplit_once('@') else { return Ok(()) };
    let open = match user.split_once(':') {
        Some((_, password)) => is_variable(password),
        // A token alone often stands where a user's name does; over SSH it is the name of an account.
        None => is_variable(user) || scheme == "git+ssh",
    };
    if open { Ok(()) } else { Err(secret("a user or password stands in the address")) }
}

fn parameters(path: &str) -> Result<(), Wrong> {
    let Some((_, query)) = path.split_once('?') else { return Ok(()) };
    let query = query.split('#').next().unwrap_or(query);
    for (name, value) in query.split(['&', ';']).filter_map(|pair| pair.split_once('=')) {
        let name = name.to_ascii_lowercase();
        if SECRET_PARAMETERS.contains(&name.as_str()) && !value.is_empty() && !is_variable(value) {
            return Err(secret(&format!("the parameter `{name}` of the address holds a secret")));
        }
    }
    Ok(())
}

fn secret(what: &str) -> Wrong {
    (
        format!("{what}, and whoever can read the repository can read it"),
        "revoke that secret, and write a variable in its place, such as `https://${TOKEN}@host/…`".to_owned(),
    )
}

/// A text in which nothing is left of what stands between `://` and `@`, or after `token=` and its like. A
/// variable's name is no secret.
pub(crate) fn without_secrets(text: &str) -> String {
    let mut cleared = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        cleared.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(after.len());
        let (address, further) = after.split_at(end);
        let authority = address.find(['/', '?', '#']).unwrap_or(address.len());
        let user = address[..authority].rfind('@').unwrap_or(0);
        let hidden = user > 0 && !address[..user].split(':').all(|part| is_variable(part) || part == "git");
        cleared.push_str(if hidden { "***" } else { &address[..user] });
        cleared.push_str(&parameters_hidden(&address[user..]));
        rest = further;
    }
    cleared.push_str(rest);
    cleared
}

fn parameters_hidden(address: &str) -> String {
    let Some((path, query)) = address.split_once('?') else { return address.to_owned() };
    let hidden = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value))
            if SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) && !is_variable(value) =>
        {
            format!("{name}=***")
        }
        _ => pair.to_owned(),
    });
    format!("{path}?{}", hidden.collect::<Vec<_>>().join("&"))
}
