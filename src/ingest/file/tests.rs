//! MP4 files made by ffmpeg, published through the real door.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::media::Codec;

/// Two seconds of pictures with B frames, and sound.
fn movie(at: &Path, video: &str, more: &[&str]) -> PathBuf {
    let path = at.join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=s=160x90:r=25:d=2"])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=r=44100:d=2",
            "-c:v",
            video,
            "-g",
            "25",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
        ])
        .args(more)
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    path
}

fn config(path: PathBuf, repeat: bool) -> Config {
    Config { stream: "loop".parse().unwrap(), path, repeat }
}

async fn published(config: Config, most: usize) -> (Arc<[Track]>, Vec<AccessUnit>, Duration) {
    let (door, mut publishers) = mpsc::channel::<Publish>(1);
    let began = Instant::now();
    let publisher = async {
        let mut source = publishers.recv().await.unwrap().accept().unwrap();
        let Some(Event::Tracks(tracks)) = source.next().await else { panic!("no tracks first") };
        let mut units = Vec::new();
        while units.len() < most {
            match source.next().await {
                Some(Event::Unit(unit)) => units.push(unit),
                Some(_) => panic!("only units follow"),
                None => break,
            }
        }
        (tracks, units)
    };
    let (ended, (tracks, units)) = tokio::join!(run(config, door, Clock), publisher);
    ended.unwrap();
    (tracks, units, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_file_is_published_once_in_real_time() {
    let folder = tempfile::tempdir().unwrap();
    let (tracks, units, took) = published(config(movie(folder.path(), "libx264", &[]), false), usize::MAX).await;
    assert!(matches!((&tracks[0].codec, &tracks[1].codec), (Codec::H264 { .. }, Codec::Aac(_))));
    let pictures: Vec<_> = units.iter().filter(|unit| unit.track == tracks[0].id).collect();
    assert_eq!((pictures.len(), pictures.iter().filter(|unit| unit.random_access).count()), (50, 2));
    assert!(units.iter().all(|unit| unit.pts >= unit.dts));
    // Reordering by two pictures lies before the first that is shown.
    assert_eq!(pictures[0].pts, MediaTime::zero(Timescale::MILLIS));
    assert_eq!(-pictures[0].dts.ticks(), i64::try_from(tracks[0].delay).unwrap());
    assert!((1_900..2_300).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn times_run_on_from_one_pass_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (tracks, units, _) = published(config(movie(folder.path(), "libx264", &[]), true), 1_000).await;
    for track in tracks.iter() {
        let of: Vec<_> = units.iter().filter(|unit| unit.track == track.id).collect();
        let steps = of.windows(2).map(|pair| pair[1].dts.since(pair[0].dts).unwrap());
        let longest = steps.clone().max().unwrap().to_std();
        assert!(steps.clone().min().unwrap().ticks() > 0, "decoding times rise");
        assert!(
            longest < Duration::from_millis(140),
            "no gap beyond the difference of the tracks' lengths: {longest:?}"
        );
    }
}

#[tokio::test]
async fn files_that_are_not_fit_are_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = async |path: PathBuf| {
        let (door, _publishers) = mpsc::channel::<Publish>(1);
        run(config(path, false), door, Clock).await.unwrap_err().to_string()
    };
    assert!(refusal(folder.path().join("none.mp4")).await.contains("none.mp4: No such file"));
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "this is no movie at all, just some text").unwrap();
    let told = refusal(text).await;
    assert!(told.contains("it is not MP4") && told.contains("convert it with: ffmpeg -i"), "{told}");
    let told = refusal(movie(folder.path(), "mpeg4", &["-an"])).await;
    assert!(told.contains("it has no H.264 and no AAC"), "{told}");
    let told = refusal(movie(folder.path(), "libx264", &["-movflags", "frag_keyframe+empty_moov", "-y"])).await;
    assert!(told.contains("it is a fragmented MP4"), "{told}");
}

#[tokio::test]
async fn a_refused_file_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (door, mut publishers) = mpsc::channel::<Publish>(1);
    let publisher = async { publishers.recv().await.unwrap().refuse(Refusal::Busy) };
    let (ended, ()) = tokio::join!(run(config(movie(folder.path(), "libx264", &[]), true), door, Clock), publisher);
    assert_eq!(
        ended.unwrap_err().to_string(),
        "the stream \"loop\" did not take the file: the stream has a publisher already"
    );
}
