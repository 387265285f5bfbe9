"""What every source must do; the tests of a format bind this to one of its sources."""

import numpy as np

from lowres.formats.source import Source


class SourceContract:
    """Subclass with a fixture `opened`: a source of at least two classes, with train and val."""

    def test_rows_are_sorted_by_key_and_keys_are_unique(self, opened: Source):
        for entries in opened.index().splits.values():
            keys = [entry.key for entry in entries]
            assert keys == sorted(set(keys))

    def test_labels_are_positions_in_the_classes(self, opened: Source):
        index = opened.index()
        assert len(index.classes) == len(set(index.classes))
        labels = {entry.label for entries in index.splits.values() for entry in entries}
        assert labels <= set(range(len(index.classes)))

    def test_listing_twice_gives_the_same(self, opened: Source):
        assert opened.index() == opened.index()
        assert opened.index().digest() == opened.index().digest()

    def test_entries_are_read_in_any_order(self, opened: Source):
        entries = opened.index().splits["train"]
        forwards = [opened.read(entry) for entry in entries]
        backwards = [opened.read(entry) for entry in reversed(entries)]
        assert all(map(np.array_equal, forwards, backwards[::-1]))
        assert all(map(len, forwards))

    def test_entries_are_read_without_listing(self, opened: Source):
        """On another machine, which is sent entries and has not listed any."""
        entries = [entry for some in opened.index().splits.values() for entry in some]
        elsewhere = type(opened)(opened.path)
        assert [elsewhere.stamp(entry) for entry in entries] == list(map(opened.stamp, entries))
        for reader in (type(opened)(opened.path), elsewhere):
            for entry in reversed(entries):
                np.testing.assert_array_equal(reader.read(entry), opened.read(entry))
                assert reader.describe(entry) == opened.describe(entry)

    def test_stamps_stay_while_nothing_changes(self, opened: Source):
        entry = opened.index().splits["train"][0]
        assert opened.stamp(entry) == opened.stamp(entry)
