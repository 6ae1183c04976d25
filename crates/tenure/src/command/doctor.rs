//! `tenure doctor`: what this host can give.

use crate::Context;
use crate::failure::{Code, Failure};
use tenure_environment::{Driver, HostReport, WallState};
use tenure_linux::LinuxDriver;
use tenure_linux::keeper::{self, Settings};

/// Prints the report. Exit code 0 if environments can be made, 10 if not.
pub fn run(context: &Context) -> Result<u8, Failure> {
    let report = report(context)?;
    if context.json {
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        super::print(&(text + "\n"))?;
    } else {
        super::print(&in_words(&report))?;
    }
    Ok(if report.walls.iter().any(|wall| wall.state == WallState::Down) { 10 } else { 0 })
}

/// The report itself. To be asked for while there is one thread.
pub fn report(context: &Context) -> Result<HostReport, Failure> {
    let settings = Settings { only_one: true, berths_ready: 0, ..super::run::keeper_settings(context, false) };
    let keeper = keeper::start(settings)?;
    super::runtime()?.block_on(async {
        let driver = LinuxDriver::connect(keeper)?;
        let report = driver.host().await;
        driver.shut_down().await;
        Ok(report)
    })
}

fn in_words(report: &HostReport) -> String {
    let mut text = String::new();
    for wall in &report.walls {
        let state = match wall.state {
            WallState::Up => "ok",
            WallState::Partial => "partly",
            WallState::Down => "missing",
        };
        text += &format!("{state:8} {:16} {}\n", wall.name, wall.detail);
        if let Some(remedy) = &wall.remedy {
            text += &format!("{:8} {:16} to do: {remedy}\n", "", "");
        }
    }
    let missing: Vec<String> = report.enforced.missing().iter().map(ToString::to_string).collect();
    let verdict = match (report.walls.iter().any(|wall| wall.state == WallState::Down), missing.is_empty()) {
        (true, _) => "Environments cannot be made here, or not safely: see what is missing.".to_owned(),
        (false, true) => "Environments can be made here, and every limit is enforced.".to_owned(),
        (false, false) => {
            format!("Environments can be made here with --allow-unenforced: not enforced are {}.", missing.join(", "))
        }
    };
    text += &format!("\n{verdict}\n");
    for note in &report.notes {
        text += &format!("{note}\n");
    }
    text
}
