//! The table on the terminal, and the file for machines.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::command::Name;
use crate::run::{Figures, Key};
use crate::workload::{Bar, SMALL, WORKLOADS, Workload};

/// Prints the table, writes `core.json`, and returns the workloads that are over their bar.
pub fn write(figures: &Figures, folder: &Path) -> Result<Vec<String>> {
    let mut over = Vec::new();
    let mut list = Vec::new();
    print_head();
    for workload in &WORKLOADS {
        let key = Key { workload: workload.name, n: workload.n, is_time: false };
        let bar = limit(figures, workload);
        let verdict = match (figure(figures, key, Name::Ours), bar) {
            (Some(ours), Some(bar)) if ours > bar => {
                over.push(workload.name.to_owned());
                "over"
            }
            (Some(_), Some(_)) => "ok",
            (None, _) | (_, None) => "-",
        };
        print_line(figures, key, bar, verdict);
        list.push(entry(figures, key));
    }
    println!();
    for key in figures.keys().filter(|key| key.is_time) {
        print_line(figures, *key, None, "");
        list.push(entry(figures, *key));
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("core.json"), serde_json::to_string_pretty(&list)? + "\n")?;
    Ok(over)
}

fn figure(figures: &Figures, key: Key, name: Name) -> Option<f64> {
    figures.get(&key)?.get(&name).copied()
}

/// The bar as a number, where what it refers to was measured.
fn limit(figures: &Figures, workload: &Workload) -> Option<f64> {
    match workload.bar {
        Bar::AtMost(bar) => Some(bar),
        Bar::AtMostTimes(times, of) => {
            let key = Key { workload: of, n: SMALL, is_time: false };
            figure(figures, key, Name::Ours).map(|figure| figure * times)
        }
    }
}

fn print_head() {
    print!("{:<24} {:>7} {:<12}", "workload", "n", "unit");
    for name in Name::ALL {
        print!(" {:>12}", name.as_str());
    }
    println!(" {:>10}", "bar");
}

fn print_line(figures: &Figures, key: Key, bar: Option<f64>, verdict: &str) {
    print!("{:<24} {:>7} {:<12}", key.workload, key.n, key.unit());
    for name in Name::ALL {
        print!(" {:>12}", number(figure(figures, key, name)));
    }
    println!(" {:>10} {verdict}", number(bar));
}

/// A number as a person reads it.
fn number(figure: Option<f64>) -> String {
    match figure {
        None => "-".to_owned(),
        Some(figure) if figure < 10.0 => format!("{figure:.4}"),
        Some(figure) => {
            let digits = format!("{figure:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

fn entry(figures: &Figures, key: Key) -> Value {
    let of = |name| figure(figures, key, name);
    json!({
        "workload": key.workload,
        "n": key.n,
        "unit": key.unit().to_string(),
        "lower_is_better": true,
        "ours": of(Name::Ours),
        "peers": {
            "automerge": of(Name::Automerge),
            "yrs": of(Name::Yrs),
            "loro": of(Name::Loro),
        },
        "floor": of(Name::Floor),
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(None), "-");
        assert_eq!(number(Some(0.001)), "0.0010");
        assert_eq!(number(Some(930.4)), "930");
        assert_eq!(number(Some(1_021_199.0)), "1,021,199");
    }
}
