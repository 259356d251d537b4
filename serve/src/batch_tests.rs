use super::*;
use crate::metrics::Metrics;

/// Doubles numbers, each of which costs itself. It fails at 13, panics at 17, and waits for the gate first.
struct Doubling {
    gate: Mutex<()>,
    batches: Mutex<Vec<Vec<usize>>>,
}

impl Work for Arc<Doubling> {
    type Item = usize;
    type Output = usize;

    fn cost(&self, item: &usize) -> usize {
        *item
    }

    fn run(&self, items: Vec<usize>) -> Vec<Result<usize, Fault>> {
        drop(self.gate.lock());
        self.batches.lock().unwrap().push(items.clone());
        assert!(!items.contains(&17), "this test panics here");
        let double = |item: usize| match item {
            13 => Err(Fault::invalid("13")),
            item => Ok(2 * item),
        };
        items.into_iter().map(double).collect()
    }
}

fn started(items: usize, batch_cost: usize) -> (Arc<Doubling>, Batches<Arc<Doubling>>) {
    let work = Arc::new(Doubling { gate: Mutex::new(()), batches: Mutex::default() });
    let bounds = Bounds { items, batch_cost, threads: 1 };
    let batches = Batches::start("test", Arc::clone(&work), bounds, Metrics::new().queue("test")).unwrap();
    (work, batches)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn requests_share_batches_and_get_their_own_answers() {
    let (work, batches) = started(100, 10);
    // The first batch is held, so that what comes meanwhile is there when the next one is made.
    let held = work.gate.lock().unwrap();
    let ask = |items: &[usize]| {
        let room = batches.admit(items.len()).unwrap();
        runtime().block_on(batches.compute(room, items.to_vec(), LONG))
    };
    let wait_for = |waiting: usize| {
        while batches.shared.locked().waiting.iter().map(|one| one.items.len()).sum::<usize>() != waiting {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(&[1]));
        while batches.shared.metrics.waiting.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        wait_for(0);
        std::thread::sleep(Duration::from_millis(50));
        wait_for(0);
        let large = scope.spawn(|| ask(&[5, 4, 3, 2, 1, 6, 20]));
        wait_for(7);
        let small = scope.spawn(|| ask(&[1, 1]));
        wait_for(9);
        let failing = scope.spawn(|| ask(&[13, 2]));
        wait_for(11);
        drop(held);
        assert_eq!(first.join().unwrap().unwrap(), [2]);
        assert_eq!(large.join().unwrap().unwrap(), [10, 8, 6, 4, 2, 12, 40]);
        assert_eq!(small.join().unwrap().unwrap(), [2, 2]);
        assert_eq!(failing.join().unwrap().unwrap_err().message(), "13");
    });
    let seen = work.batches.lock().unwrap().clone();
    // The small request does not wait for all of the large one, and what costs more than a batch may is alone.
    assert_eq!(seen[..3], [vec![1], vec![5, 4], vec![1, 1]], "{seen:?}");
    assert!(seen.contains(&vec![20]), "{seen:?}");
    assert!(seen.iter().all(|batch| batch.len() == 1 || batch.iter().sum::<usize>() <= 10), "{seen:?}");
    batches.close();
}

#[test]
fn what_finds_no_room_is_refused_and_room_comes_back() {
    let (_, batches) = started(3, 10);
    let room = batches.admit(2).unwrap();
    let refused = batches.admit(2).err().unwrap();
    assert!(refused.message().contains("room for 3 items, 2 are in it"), "{}", refused.message());
    assert_eq!(batches.shared.metrics.refused.load(Ordering::Relaxed), 1);
    drop(room);
    let room = batches.admit(3).unwrap();
    assert_eq!(runtime().block_on(batches.compute(room, vec![1, 2, 3], LONG)).unwrap(), [2, 4, 6]);
    // The worker lets go of the answer a moment after it has sent it.
    while batches.admit(3).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn late_answers_and_panics_are_faults_and_the_worker_goes_on() {
    let (work, batches) = started(100, 10);
    let ask = |items: &[usize], limit| {
        let room = batches.admit(items.len()).unwrap();
        runtime().block_on(batches.compute(room, items.to_vec(), limit))
    };
    let held = work.gate.lock().unwrap();
    let late = ask(&[1], Duration::from_millis(20)).unwrap_err();
    assert!(late.message().contains("no answer within 0.02 s"), "{}", late.message());
    drop(held);
    assert!(ask(&[17], LONG).unwrap_err().message().contains("failed at this batch"));
    assert_eq!(ask(&[4], LONG).unwrap(), [8]);
    assert_eq!(ask(&[], LONG).unwrap(), [0; 0]);
    batches.close();
}

#[test]
fn what_is_given_up_makes_room_at_once() {
    let (work, batches) = started(4, 10);
    let held = work.gate.lock().unwrap();
    let compute = |items: Vec<usize>| {
        let room = batches.admit(items.len()).unwrap();
        batches.compute(room, items, LONG)
    };
    runtime().block_on(async {
        let mut first = std::pin::pin!(compute(vec![1]));
        let brief = Duration::from_millis(50);
        assert!(tokio::time::timeout(brief, first.as_mut()).await.is_err());
        // It waits behind the first one, and nobody waits for it any more.
        assert!(tokio::time::timeout(brief, compute(vec![2, 3, 4])).await.is_err());
        assert!(batches.admit(3).is_ok());
        drop(held);
        assert_eq!(first.await.unwrap(), [2]);
    });
    assert_eq!(*work.batches.lock().unwrap(), [vec![1]]);
    batches.close();
}
