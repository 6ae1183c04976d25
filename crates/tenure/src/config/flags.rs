//! Settings as flags, for the commands that use them all.

use super::layer::Flag;

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Where the server listens [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// A name by which the server may be called
    #[arg(long = "allowed-host", value_name = "HOST")]
    allowed_hosts: Vec<String>,
    /// The domain below which each preview has a host name of its own
    #[arg(long, value_name = "DOMAIN")]
    preview_domain: Option<String>,
    /// What is logged, as in debug or info,tenure_engine=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Let sessions go without limits that this host does not enforce
    #[arg(long)]
    allow_unenforced: bool,
    /// Any other setting, by its key in the file
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<(String, String)>,
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Flags {
    /// Those that were given.
    pub fn given(&self) -> Vec<Flag> {
        let flag = |key: &str, text: &str, written: &str| Flag {
            key: key.to_owned(),
            text: text.to_owned(),
            written: written.to_owned(),
        };
        let hosts = (!self.allowed_hosts.is_empty()).then(|| self.allowed_hosts.join(","));
        let named = [
            ("listen", self.listen.as_deref(), "--listen"),
            ("allowed_hosts", hosts.as_deref(), "--allowed-host"),
            ("preview_domain", self.preview_domain.as_deref(), "--preview-domain"),
            ("log", self.log.as_deref(), "--log"),
            ("allow_unenforced", self.allow_unenforced.then_some("true"), "--allow-unenforced"),
        ];
        let named = named.into_iter().filter_map(|(key, text, written)| Some(flag(key, text?, written)));
        named.chain(self.sets.iter().map(|(key, text)| flag(key, text, &format!("--set {key}")))).collect()
    }
}
