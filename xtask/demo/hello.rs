//! The program of the demo image: says where it runs, so that one sees that it is a container.

use std::fs;

fn main() {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    println!("Hello from a container.");
    println!("My process id is {}, my host name is {:?}.", std::process::id(), line("/proc/sys/kernel/hostname"));
    let mut names: Vec<_> = fs::read_dir("/")
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    println!("My root holds: {}.", names.join(" "));
    for argument in std::env::args().skip(1) {
        println!("I was told: {argument}");
    }
}
