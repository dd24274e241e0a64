"""Challenge methods: who may enrol."""
