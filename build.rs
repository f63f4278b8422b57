//! Makes sure that the folder of the pages is there: without it the binary builds too, and says how to get them.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=web/dist");
    std::fs::create_dir_all("web/dist")
}
