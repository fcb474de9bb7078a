//! The proxy between this machine and the model, by the variables that other programs read too.

use hyper_util::client::proxy::matcher::Matcher;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    failure::{Exit, Failure},
    port,
};

/// What the environment says about proxies. An address may hold a password.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`: for `http://…`
    pub http: Option<SecretString>,
    /// `HTTPS_PROXY`: for `https://…`
    pub https: Option<SecretString>,
    /// `ALL_PROXY`: where there is none of the two
    pub all: Option<SecretString>,
    /// `NO_PROXY`: hosts that are reached directly
    pub no: Option<String>,
}

impl Proxies {
    /// The proxy for this address; None where it is reached directly, as this machine always is.
    ///
    /// # Errors
    /// When the proxy that is set is none that can be used.
    pub fn to(&self, address: &str) -> Result<Option<SecretString>, Failure> {
        let Ok(uri) = address.parse::<axum::http::Uri>() else { return Ok(None) };
        let (name, own) = match uri.scheme_str() {
            Some("https") => ("HTTPS_PROXY", &self.https),
            _ => ("HTTP_PROXY", &self.http),
        };
        let (name, proxy) = match (own, &self.all) {
            (Some(proxy), _) => (name, proxy),
            (None, Some(proxy)) => ("ALL_PROXY", proxy),
            (None, None) => return Ok(None),
        };
        if uri.host().is_none_or(port::is_local) || self.is_excepted(&uri) {
            return Ok(None);
        }
        usable(proxy.expose_secret()).map(Some).ok_or_else(|| {
            // Not the value: there may be a password in it.
            Failure::new(format!("{name} is no proxy that can be used to reach {address}"))
                .exit(Exit::Config)
                .why("expected http://HOST:PORT or https://HOST:PORT")
                .next(format!("export {name}=http://…     (or unset it)"))
                .next(format!("export NO_PROXY={}     (to reach it directly)", uri.host().unwrap_or("HOST")))
        })
    }

    /// By the rules of curl: names with everything below them, addresses, networks, `*`.
    fn is_excepted(&self, uri: &axum::http::Uri) -> bool {
        let Some(no) = &self.no else { return false };
        Matcher::builder().all("http://any.invalid").no(no.as_str()).build().intercept(uri).is_none()
    }
}

/// The address with its scheme; `http` where there is none, as curl takes it.
fn usable(proxy: &str) -> Option<SecretString> {
    let proxy = proxy.trim();
    let whole = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let url = reqwest::Url::parse(&whole).ok()?;
    (url.has_host() && matches!(url.scheme(), "http" | "https")).then(|| whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies {
            https: Some("http://u:secret@proxy.example:8080".to_owned().into()),
            all: Some("other.example:3128".to_owned().into()),
            no: Some("example.org, 10.0.0.0/8".into()),
            ..Proxies::default()
        }
    }

    fn to(proxies: &Proxies, address: &str) -> Option<String> {
        proxies.to(address).expect("usable").map(|proxy| proxy.expose_secret().to_owned())
    }

    #[test]
    fn each_address_has_its_proxy_or_none() {
        let all = proxies();
        assert_eq!(
            to(&all, "https://api.anthropic.com").as_deref(),
            Some("http://u:secret@proxy.example:8080")
        );
        assert_eq!(to(&all, "http://api.anthropic.com").as_deref(), Some("http://other.example:3128"));
        let direct = [
            "https://example.org",
            "https://api.example.org",
            "https://10.1.2.3",
            "https://localhost:1",
            "http://127.0.0.1:1",
            "http://[::1]:1",
        ];
        for address in direct {
            assert_eq!(to(&all, address), None, "{address}");
        }
        assert_eq!(to(&Proxies::default(), "https://api.anthropic.com"), None);
    }

    #[test]
    fn one_that_cannot_be_used_is_named_without_its_password() {
        let bad = Proxies { https: Some("socks5://u:secret@h:1".to_owned().into()), ..Proxies::default() };
        let failure = bad.to("https://api.anthropic.com").expect_err("no such proxy").to_string();
        assert!(failure.contains("HTTPS_PROXY") && !failure.contains("secret"), "{failure}");
    }
}
