"""The processes: dispatcher and executor, with what an executor keeps on its disk."""
