-- Which bytes of a part file are on the disk for good, as JSON [[start, end], …] (end excluded). NULL: the part is a
-- prefix, all of it counts.
ALTER TABLE downloads ADD COLUMN extents TEXT;
