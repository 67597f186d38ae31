//! Each case as a picture: well formed, within its bounds, with all that there is.

use std::path::Path;
use std::time::Duration;

use pitr::model::{Catalog, LogBackup, Lsn, TimelineId, Timestamp, WalRange};
use pitr::plan::{RestorePlan, SvgOptions, timeline_svg};

use crate::case::Case;
use crate::rows::{first_life, time};
use crate::{paths, read};

fn cases() -> impl Iterator<Item = (String, Catalog, Vec<RestorePlan>)> {
    paths().into_iter().filter_map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (catalog, plans) = Case::catalog(&read(&path))?;
        Some((name, catalog, plans))
    })
}

type Attributes = Vec<(String, String)>;

/// Elements, in order, with their attributes; and the texts between them.
fn parse(svg: &str) -> (Vec<(String, Attributes)>, Vec<String>) {
    let (mut elements, mut texts, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = svg;
    while let Some((text, tail)) = rest.split_once('<') {
        if !text.is_empty() {
            assert!(
                !text.contains('&') && !text.contains('>') || open.last().is_some_and(|name| name == "style"),
                "{text}"
            );
            texts.push(text.to_owned());
        }
        let (tag, after) = tail.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{tag}");
            continue;
        }
        let is_empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        elements.push((name.to_owned(), attributes_of(attributes)));
        if !is_empty {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.is_empty(), "{open:?} {rest}");
    (elements, texts)
}

fn attributes_of(text: &str) -> Attributes {
    let (mut attributes, mut rest) = (Vec::new(), text.trim());
    while let Some((name, tail)) = rest.split_once("=\"") {
        let (value, after) = tail.split_once('"').expect("a value ends");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-12xyB".contains(&byte)), "{name}");
        attributes.push((name.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    assert_eq!(rest, "");
    attributes
}

fn assert_sound(name: &str, svg: &str, catalog: &Catalog) {
    let (elements, texts) = parse(svg);
    let number = |attributes: &Attributes, wanted: &str| -> Option<f64> {
        attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.parse().unwrap())
    };
    let width = number(&elements[0].1, "width").unwrap();
    for (element, attributes) in &elements {
        if let (Some(x), Some(wide)) = (number(attributes, "x"), number(attributes, "width")) {
            assert!(x >= 0.0 && wide > 0.0 && x + wide <= width, "{name}: {element} {attributes:?}");
        }
        assert!(attributes.iter().all(|(_, value)| !value.contains("-inf") && !value.contains("NaN")));
    }
    let of = |class: &str| elements.iter().filter(|(_, all)| all.iter().any(|(_, value)| value == class)).count();
    let others = |text: &String| {
        let (_, more) = text.split_once(", and ")?;
        more.split_once(" more within the same pixel")?.0.parse::<usize>().ok()
    };
    // One stands in the legend.
    let drawn = of("snapshot").saturating_sub(1) + texts.iter().filter_map(others).sum::<usize>();
    assert_eq!(drawn, catalog.snapshots().count(), "{name}");
    assert!(svg.len() < 40_000, "{name} has {} bytes", svg.len());
}

#[test]
fn every_case_can_be_drawn() {
    let mut plans_drawn = 0;
    for (name, catalog, plans) in cases() {
        let plain = timeline_svg(&catalog, SvgOptions::default());
        assert_sound(&name, &plain, &catalog);
        let reversed = Catalog::new(catalog.artifacts().collect::<Vec<_>>().into_iter().rev()).unwrap();
        assert_eq!(timeline_svg(&reversed, SvgOptions::default()), plain, "{name}");
        for plan in &plans {
            let svg = timeline_svg(&catalog, SvgOptions::default().plan(plan).width(640));
            assert_sound(&name, &svg, &catalog);
            assert!(svg.contains("class=\"chosen\""), "{name}: {plan}");
            plans_drawn += 1;
        }
    }
    assert!(plans_drawn > 60, "{plans_drawn}");
}

/// To be looked at: `PITR_PICTURES=DIRECTORY` writes all of them there.
#[test]
fn pictures_are_those_that_were_looked_at() {
    for (name, catalog, plans) in cases() {
        let window = SvgOptions::default().window(time("01:30:00"), time("04:00:00"));
        let svg = timeline_svg(&catalog, plans.first().map_or(window, |plan| window.plan(plan)));
        if let Ok(directory) = std::env::var("PITR_PICTURES") {
            std::fs::write(Path::new(&directory).join(format!("{name}.svg")), &svg).unwrap();
        }
        let known = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/pictures/{name}.svg"));
        if known.exists() {
            assert_eq!(svg, std::fs::read_to_string(known).unwrap(), "{name} looks different");
        }
    }
    assert!(std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/pictures")).unwrap().count() > 2);
}

/// 35 days of log at a cadence of five minutes, with a hole every day.
#[test]
fn a_long_time_takes_little_room() {
    let begin: Timestamp = "2026-10-26T00:00:00Z".parse().unwrap();
    let logs = (0..10_080_u64).filter(|number| number % 288 != 100).map(|number| {
        let lsn = |number: u64| Lsn::new((number + 1) << 20);
        let wal = WalRange::new(TimelineId::FIRST, lsn(number), lsn(number + 1)).unwrap();
        let mut log = LogBackup::new(first_life(), wal, "log/series".parse().unwrap(), 1 << 20);
        log.complete_through = Some(begin.saturating_add(Duration::from_secs(300 * (number + 1))));
        log.into()
    });
    let catalog = Catalog::new(logs).unwrap();
    let svg = timeline_svg(&catalog, SvgOptions::default());
    assert_sound("long", &svg, &catalog);
    assert_eq!(svg.matches("class=\"hole\"").count(), 35 + 1, "each, and that of the legend");
    assert!(svg.len() < 12_000, "{}", svg.len());
}
