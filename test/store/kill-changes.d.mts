export function changeAt(offset: number): { key: string; value: { offset: number; text: string } }
export function contentAt(end: number): [string, { offset: number; text: string }][]
