package replay

// Agreed counts the recorded answers to getrawmempool that were compared with the state, and held.
func (n *Node) Agreed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pool.agreed
}
