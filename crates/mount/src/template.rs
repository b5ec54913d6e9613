//! Texts that say where earlier mounts are: `{{ mount 0 }}` (containerd: `core/mount/manager/format.go`).

use wharf_metadata::ActiveMount;
use wharf_types::Mount;

/// Fills in the source, the target and the options of a mount from those before it.
///
/// # Errors
/// What is wrong with a text.
pub(crate) fn fill(mount: &mut Mount, before: &[ActiveMount]) -> Result<(), String> {
    for text in [&mut mount.source, &mut mount.target].into_iter().chain(&mut mount.options) {
        if text.contains("{{") {
            *text = filled(text, before)?;
        }
    }
    Ok(())
}

fn filled(text: &str, before: &[ActiveMount]) -> Result<String, String> {
    let (mut all, mut rest) = (String::new(), text);
    while let Some((plain, after)) = rest.split_once("{{") {
        let (words, after) = after.split_once("}}").ok_or_else(|| format!("template {text:?}: a {{{{ has no }}}}"))?;
        all.push_str(plain);
        all.push_str(&value(words, before).map_err(|why| format!("template {text:?}: {why}"))?);
        rest = after;
    }
    all.push_str(rest);
    Ok(all)
}

fn value(words: &str, before: &[ActiveMount]) -> Result<String, String> {
    let place = |number: &str| {
        let found = number.parse::<usize>().ok().filter(|number| *number < before.len());
        found.ok_or_else(|| format!("there is no mount {number} among the {} before it", before.len()))
    };
    let one = |number: &str| {
        let active = before.get(place(number)?);
        active.ok_or_else(|| format!("there is no mount {number} before it"))
    };
    match words.split_whitespace().collect::<Vec<_>>()[..] {
        ["source", number] => Ok(one(number)?.mount.source.clone()),
        ["target", number] => Ok(one(number)?.mount.target.clone()),
        ["mount", number] => Ok(one(number)?.point.clone()),
        ["overlay", from, to] => {
            let (from, to) = (place(from)?, place(to)?);
            let (low, count) = (from.min(to), from.abs_diff(to) + 1);
            let between = before.iter().skip(low).take(count).map(|active| active.point.as_str());
            let points: Vec<_> = if from > to { between.rev().collect() } else { between.collect() };
            Ok(points.join(":"))
        }
        _ => Err(format!("{words:?} is none of source N, target N, mount N, overlay FROM TO")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn before() -> Vec<ActiveMount> {
        let active = |n: usize| ActiveMount {
            mount: Mount { source: format!("/s{n}"), target: format!("t{n}"), ..Mount::default() },
            point: format!("/m/{n}"),
            mounted_at: SystemTime::UNIX_EPOCH,
        };
        (0..3).map(active).collect()
    }

    #[test]
    fn templates_are_filled_in() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("{{ source 1 }}", "/s1"),
            ("{{target 2}}/x", "t2/x"),
            ("upperdir={{ mount 1 }}/a:{{ mount 0 }}", "upperdir=/m/1/a:/m/0"),
            ("lowerdir={{ overlay 0 2 }}", "lowerdir=/m/0:/m/1:/m/2"),
            ("lowerdir={{ overlay 2 1 }}", "lowerdir=/m/2:/m/1"),
            ("{{ overlay 1 1 }}", "/m/1"),
        ] {
            let mut mount = Mount { options: vec![text.to_owned()], source: text.to_owned(), ..Mount::default() };
            fill(&mut mount, &before()).unwrap();
            assert_eq!((mount.source.as_str(), mount.options.concat().as_str()), (wanted, wanted));
        }
        for text in
            ["{{ mount 3 }}", "{{ mount -1 }}", "{{ mount }}", "{{ overlay 0 3 }}", "{{ mount 0", "{{ exec 1 }}"]
        {
            let mut mount = Mount { source: text.to_owned(), ..Mount::default() };
            let why = fill(&mut mount, &before()).unwrap_err();
            assert!(why.starts_with("template"), "{why}");
        }
    }
}
