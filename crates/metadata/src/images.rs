//! Images.

use wharf_types::{Digest, Filters, Namespace};

use crate::database::damaged;
use crate::fields::{checked, set};
use crate::rows::{Row, RowKind, Rows, decode};
use crate::{Database, Error, Image, Images, Result, codec};

impl Images for Database {
    fn get(&self, ns: &Namespace, name: &str) -> Result<Image> {
        find(&self.inner.read()?, ns, name)
    }

    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Image>> {
        let rows = self.inner.read()?;
        let mut all = Vec::new();
        rows.scan(RowKind::Image, &[ns.as_str()], &mut |row, bytes| {
            let [_, name, ..] = row.1;
            let image = read(&rows, name, decode(rows.file(), row, bytes)?)?;
            all.extend(Some(image).filter(|image| filters.matches(image)));
            Ok(true)
        })?;
        Ok(all)
    }

    fn create(&self, ns: &Namespace, mut image: Image) -> Result<Image> {
        image = valid(image)?;
        self.inner.write(|rows| {
            if rows.has(row(ns, &image.name))? {
                return Err(Error::AlreadyExists { what: "image", name: image.name });
            }
            rows.ensure_namespace(ns)?;
            (image.created_at, image.updated_at) = (rows.now, rows.now);
            rows.put(row(ns, &image.name), &codec::Image::from(image.clone()))?;
            Ok(image)
        })
    }

    fn update(&self, ns: &Namespace, image: Image, paths: &[String]) -> Result<Image> {
        if image.name.is_empty() {
            return Err(nameless());
        }
        self.inner.write(|rows| {
            let mut updated = find(rows, ns, &image.name)?;
            if paths.is_empty() {
                updated = Image { created_at: updated.created_at, ..image };
            } else {
                for path in paths {
                    change(&mut updated, &image, path)?;
                }
            }
            updated = valid(updated)?;
            updated.updated_at = rows.now;
            rows.put(row(ns, &updated.name), &codec::Image::from(updated.clone()))?;
            Ok(updated)
        })
    }

    fn delete(&self, ns: &Namespace, name: &str, target: Option<&Digest>) -> Result<()> {
        self.inner.write(|rows| {
            let found = find(rows, ns, name)?;
            // One that stands for something else by now is not the one that was meant.
            if target.is_some_and(|target| *target != found.target.digest) {
                return Err(missing(name));
            }
            rows.delete(row(ns, name)).map(drop)
        })
    }
}

/// Takes over what a path of a field mask names.
fn change(image: &mut Image, from: &Image, path: &str) -> Result<()> {
    match path {
        "labels" => image.labels.clone_from(&from.labels),
        "target" => image.target.clone_from(&from.target),
        "annotations" => image.target.annotations.clone_from(&from.target.annotations),
        _ => {
            if let Some(key) = path.strip_prefix("labels.") {
                set(&mut image.labels, key, &from.labels);
            } else if let Some(key) = path.strip_prefix("annotations.") {
                set(&mut image.target.annotations, key, &from.target.annotations);
            } else {
                return Err(Error::Invalid(format!("image {:?}: there is no field {path:?} to change", image.name)));
            }
        }
    }
    Ok(())
}

fn valid(mut image: Image) -> Result<Image> {
    if image.name.is_empty() {
        return Err(nameless());
    }
    if image.target.media_type.is_empty() {
        return Err(Error::Invalid(format!("image {:?}: its target has no media type", image.name)));
    }
    if image.target.size == 0 || image.target.size > wharf_types::descriptor::MAX_SIZE {
        return Err(Error::Invalid(format!("image {:?}: its target's size is {}", image.name, image.target.size)));
    }
    image.labels = checked("image", &image.name, image.labels)?;
    Ok(image)
}

fn find(rows: &impl Rows, ns: &Namespace, name: &str) -> Result<Image> {
    let found = rows.find(row(ns, name))?.ok_or_else(|| missing(name))?;
    read(rows, name, found)
}

fn read(rows: &impl Rows, name: &str, found: codec::Image) -> Result<Image> {
    found.read(name).ok_or_else(|| damaged(rows.file(), &format!("the record of image {name:?} has no target")))
}

fn row<'a>(ns: &'a Namespace, name: &'a str) -> Row<'a> {
    Row::new(RowKind::Image, &[ns.as_str(), name])
}

fn missing(name: &str) -> Error {
    Error::NotFound { what: "image", name: name.to_owned() }
}

fn nameless() -> Error {
    Error::Invalid("an image needs a name".to_owned())
}
