use super::*;

/// What this process has in memory at most until now, in bytes, since the mark was reset.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_layer_of_200_megabytes_takes_a_few_of_memory() {
    let setup = setup().await;
    let layer = Layer::new().file("zeros", 0o644, vec![0; 190_000_000]).file("noise", 0o644, noise(1, 10_000_000));
    let image = Image::builder().layer(layer, Compression::None).build();
    setup.registry.put_image(REPOSITORY, "latest", &image);
    // Other tests of this process count too, so the bound is wide; the layer is far wider.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    setup.pull().await.unwrap();
    let grown = peak().saturating_sub(before);
    assert!(grown < 64_000_000, "{grown} bytes");
}
