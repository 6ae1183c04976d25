//! `tenure template`: the roots that environments are made from.

use crate::Context;
use crate::failure::{CliCode, Code, Failure};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tenure_environment::{parse_bytes, parse_cpus};
use tenure_linux::template::{DEFAULT_TEMPLATE, LimitDefaults, Manifest, Settings, Source, Templates};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add the next version of a template
    Add(Box<AddArgs>),
    /// List all templates and versions
    List,
    /// Show one template
    Show {
        /// NAME or NAME@VERSION
        name: String,
    },
    /// Remove a template that nothing uses
    Remove {
        /// NAME or NAME@VERSION
        name: String,
    },
}

/// Arguments of `add`.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Its name: lower-case letters, digits, '.', '_', '-'
    name: String,
    /// dir:PATH, oci:PATH[:TAG] (image layout), oci-archive:PATH[:TAG] or docker-archive:PATH[:TAG]
    source: Source,
    /// Processor cores, as in 0.5
    #[arg(long, value_parser = parse_cpus)]
    cpu: Option<u32>,
    /// Memory, as in 512M
    #[arg(long, value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Processes and threads
    #[arg(long)]
    pids: Option<u32>,
    /// Disk, as in 2G
    #[arg(long, value_parser = parse_bytes)]
    disk: Option<u64>,
    /// Who programs run as [default: the image's user, else the user 1000]
    #[arg(long)]
    user: Option<String>,
    /// Where programs run [default: the image's directory, else /workspace]
    #[arg(long)]
    cwd: Option<String>,
}

impl AddArgs {
    /// What a server is asked for. It reads the root itself, on its own host.
    pub fn body(&self) -> Result<Value, Failure> {
        if self.user.is_some() || self.cwd.is_some() {
            let failure = Failure::new(CliCode::Usage, "--user and --cwd cannot be chosen through a server");
            return Err(failure.hint("stop the server, add the template, and start it again"));
        }
        let limits = json!({
            "cpu_millis": self.cpu,
            "memory_bytes": self.memory,
            "pids": self.pids,
            "disk_bytes": self.disk,
        });
        Ok(json!({ "name": self.name, "source": written(&self.source)?, "limits": super::session::given(limits) }))
    }
}

/// A source as it is written, with the whole path: a server is somewhere else than we are.
fn written(source: &Source) -> Result<String, Failure> {
    let whole = |path: &Path| match std::path::absolute(path)?.into_os_string().into_string() {
        Ok(path) => Ok(path),
        Err(path) => Err(Failure::new(Code::Validation, format!("{} is not UTF-8", path.display()))),
    };
    let tagged = |kind: &str, path: &Path, tag: &Option<String>| {
        let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        Ok::<_, Failure>(format!("{kind}:{}{tag}", whole(path)?))
    };
    match source {
        Source::Host => Ok("host".into()),
        Source::Directory(path) => tagged("dir", path, &None),
        Source::OciLayout { path, tag } => tagged("oci", path, tag),
        Source::OciArchive { path, tag } => tagged("oci-archive", path, tag),
    }
}

/// Runs one of them.
pub fn run(context: &Context, command: Command) -> Result<u8, Failure> {
    let templates = Templates::open(&context.data_dir)?;
    match command {
        Command::Add(args) => {
            let added = templates.add(&args.name.clone(), &args.source.clone(), settings(*args))?;
            show(context, &added.manifest)
        }
        Command::List => {
            templates.default_template(now_ms())?;
            list(context, &templates)
        }
        Command::Show { name } => {
            if name == DEFAULT_TEMPLATE {
                templates.default_template(now_ms())?;
            }
            show(context, &templates.show(&name)?)
        }
        Command::Remove { name } => remove(context, &templates, &name),
    }
}

fn settings(args: AddArgs) -> Settings {
    Settings {
        created_at_ms: now_ms(),
        limits: LimitDefaults {
            cpu_millis: args.cpu,
            memory_bytes: args.memory,
            pids: args.pids,
            disk_bytes: args.disk,
            ..LimitDefaults::default()
        },
        user: args.user,
        cwd: args.cwd,
        ..Settings::default()
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn list(context: &Context, templates: &Templates) -> Result<u8, Failure> {
    let all: Vec<Manifest> = templates.list()?.into_iter().map(|template| template.manifest).collect();
    if context.json {
        super::print(&format!("{}\n", json!({ "items": all })))?;
        return Ok(0);
    }
    let mut text = format!("{:24} {:>7}  {:16} {}\n", "NAME", "VERSION", "SOURCE", "DIGEST");
    for manifest in &all {
        let source = source_name(manifest);
        let digest = manifest.digest.get(..19).unwrap_or(&manifest.digest);
        text += &format!("{:24} {:>7}  {source:16} {digest}\n", manifest.name, manifest.version);
    }
    super::print(&text)?;
    Ok(0)
}

/// The kind of source as the manifest spells it.
fn source_name(manifest: &Manifest) -> String {
    serde_json::to_value(manifest.source).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn show(context: &Context, manifest: &Manifest) -> Result<u8, Failure> {
    let text = if context.json { serde_json::to_string(manifest) } else { serde_json::to_string_pretty(manifest) };
    let text = text.map_err(std::io::Error::from)?;
    super::print(&(text + "\n"))?;
    Ok(0)
}

fn remove(context: &Context, templates: &Templates, reference: &str) -> Result<u8, Failure> {
    let (name, version) = match reference.split_once('@') {
        Some((name, _)) => (name, Some(templates.show(reference)?.version)),
        None => (reference, None),
    };
    templates.remove(name, version)?;
    if context.json {
        super::print(&format!("{}\n", json!({ "removed": reference })))?;
    }
    Ok(0)
}
