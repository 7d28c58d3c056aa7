pub fn run(_count: usize, _seed: u64, _skip: usize) -> bool {
    todo!()
}
